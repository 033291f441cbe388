insert into "holdfast_quarantine"
(id, task_id, process_id, queue, job_ref, payload, reason, last_error, crashes, quarantined_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp()), ($10, $11, $12, $13, $14, $15, $16, $17, $18, clock_timestamp());
