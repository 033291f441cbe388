insert into `holdfast_crashes` (queue, job_ref, count, last_crash_at)
select c.queue, ?, c.count, c.last_crash_at from `holdfast_crashes` as c
where c.queue = ? and c.job_ref = ?
on duplicate key update `count` = values(`count`), `last_crash_at` = values(`last_crash_at`);
