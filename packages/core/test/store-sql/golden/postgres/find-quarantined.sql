select
q.id, q.task_id as "taskId", q.process_id as "processId", q.queue,
q.job_ref as "jobRef", q.reason, q.last_error as "lastError", q.crashes,
(extract(epoch from clock_timestamp() - "q"."quarantined_at") * 1000)::float8 as "quarantinedMsAgo", q.payload from "holdfast_quarantine" as q where q.id = $1;
