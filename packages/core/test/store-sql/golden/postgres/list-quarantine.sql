select
q.id, q.task_id as "taskId", q.process_id as "processId", q.queue,
q.job_ref as "jobRef", q.reason, q.last_error as "lastError", q.crashes,
(extract(epoch from clock_timestamp() - "q"."quarantined_at") * 1000)::float8 as "quarantinedMsAgo" from "holdfast_quarantine" as q where 1 = 1
order by q.quarantined_at desc, q.id limit 2;
