start transaction isolation level read committed;

update "holdfast_tasks" set job_ref = $1 where process_id = $2 and nonce = $3;

commit;
