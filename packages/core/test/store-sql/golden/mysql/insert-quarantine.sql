insert into `holdfast_quarantine`
(id, task_id, process_id, queue, job_ref, payload, reason, last_error, crashes, quarantined_at)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, utc_timestamp(3)), (?, ?, ?, ?, ?, ?, ?, ?, ?, utc_timestamp(3));
