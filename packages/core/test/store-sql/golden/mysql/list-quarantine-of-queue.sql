select
q.id, q.task_id as `taskId`, q.process_id as `processId`, q.queue,
q.job_ref as `jobRef`, q.reason, q.last_error as `lastError`, q.crashes,
timestampdiff(microsecond, `q`.`quarantined_at`, utc_timestamp(3)) div 1000 as `quarantinedMsAgo` from `holdfast_quarantine` as q where 1 = 1 and q.queue = ? and exists (
select 1 from `holdfast_quarantine` as last
where last.id = ? and q.quarantined_at <= last.quarantined_at
and (q.quarantined_at < last.quarantined_at or q.id > last.id))
order by q.quarantined_at desc, q.id limit 2;
