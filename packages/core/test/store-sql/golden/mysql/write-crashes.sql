insert into `holdfast_crashes` (queue, job_ref, count, last_crash_at) values (?, ?, ?, utc_timestamp(3)), (?, ?, ?, utc_timestamp(3))
on duplicate key update `count` = values(`count`), `last_crash_at` = values(`last_crash_at`);
