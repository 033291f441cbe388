start transaction isolation level read committed;

select nonce, "id" as id, "job_ref" as "jobRef",
"payload" as payload, on_crash as "onCrash", ended, attempts,
last_error as "lastError", crashes
from "holdfast_tasks"
where process_id = $1 and nonce > 0 and queue = $2
and (retry_at is null or retry_at <= clock_timestamp())
and (claim_token is null or claim_expires_at < clock_timestamp() or not exists (
select 1 from "holdfast_processes" as p
where p.process_id = claimed_by and p.state = 'alive' and p.lease_expires_at >= clock_timestamp()))
order by process_id, nonce limit 2 for update skip locked;

commit;
