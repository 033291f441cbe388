select process_id as `processId`, state, hostname, pid, label,
timestampdiff(microsecond, `last_seen_at`, utc_timestamp(3)) div 1000 as `lastSeenMsAgo`,
-timestampdiff(microsecond, `lease_expires_at`, utc_timestamp(3)) div 1000 as `leaseEndsInMs`,
(select count(*) from `holdfast_tasks` as t where t.process_id = p.process_id and t.ended is null) as tasks
from `holdfast_processes` as p order by started_at, process_id;
