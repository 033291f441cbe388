insert into `holdfast_recoveries`
(id, task_id, queue, job_ref, new_job_ref, from_process, by_process, cause, crashes, outcome,
recovered_at, orphaned_for_ms)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, utc_timestamp(3), ?), (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, utc_timestamp(3), ?);
