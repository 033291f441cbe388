begin;

update "holdfast_tasks" set ended = 1, job_ref = null
where process_id = $1 and nonce = $2 and claim_token is null and ended is null returning 1 as written;

commit;
