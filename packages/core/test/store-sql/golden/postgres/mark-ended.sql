begin;

select set_config($1, $2, true);

update "holdfast_tasks" set ended = 1, job_ref = null
where process_id = $1 and nonce = $2 and claim_token is null and ended is null and coalesce(current_setting('holdfast.within', true) = $3, false) returning 1 as written;

commit;
