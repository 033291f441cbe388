insert into "holdfast_recoveries"
(id, task_id, queue, job_ref, new_job_ref, from_process, by_process, cause, crashes, outcome,
recovered_at, orphaned_for_ms)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, clock_timestamp(), $11), ($12, $13, $14, $15, $16, $17, $18, $19, $20, $21, clock_timestamp(), $22);
