begin;

savepoint holdfast_end;

update `holdfast_tasks` set ending = 1 where process_id = ? and nonce = ? and claim_token is null and ended is null;

release savepoint holdfast_end;

update `holdfast_tasks` set ended = 1, job_ref = null where process_id = ? and nonce = ? and claim_token is null and ended is null and ending = 1;

commit;
