select t.process_id as "processId", p.process_id as holder
from "holdfast_tasks" as t
left join "holdfast_processes" as p on p.process_id = t.process_id and t.claim_token is null
and p.state = 'alive' and p.lease_expires_at >= clock_timestamp()
where t.queue = $1 and t.job_ref = $2;
