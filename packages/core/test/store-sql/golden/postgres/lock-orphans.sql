start transaction isolation level read committed;

select id, queue, job_ref as "jobRef", payload, on_crash as "onCrash", attempts,
last_error as "lastError", crashes
from "holdfast_tasks"
where process_id = $1 and id > $2 and queue = $3
and (retry_at is null or retry_at <= clock_timestamp())
and (claim_token is null or claim_expires_at < clock_timestamp() or not exists (
select 1 from "holdfast_processes" as p
where p.process_id = claimed_by and p.state = 'alive' and p.lease_expires_at >= clock_timestamp()))
order by process_id, id limit 2 for update skip locked;

commit;
