select process_id as "processId", state, hostname, pid, label,
(extract(epoch from clock_timestamp() - "last_seen_at") * 1000)::float8 as "lastSeenMsAgo",
-(extract(epoch from clock_timestamp() - "lease_expires_at") * 1000)::float8 as "leaseEndsInMs",
(select count(*) from "holdfast_tasks" as t where t.process_id = p.process_id and t.ended is null) as tasks
from "holdfast_processes" as p order by started_at, process_id;
