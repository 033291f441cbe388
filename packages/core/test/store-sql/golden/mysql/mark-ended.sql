begin;

update `holdfast_tasks` set ended = 1, job_ref = null
where process_id = ? and nonce = ? and claim_token is null and ended is null;

commit;
