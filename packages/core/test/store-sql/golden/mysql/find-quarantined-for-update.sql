set transaction isolation level read committed;

begin;

select
q.id, q.task_id as `taskId`, q.process_id as `processId`, q.queue,
q.job_ref as `jobRef`, q.reason, q.last_error as `lastError`, q.crashes,
timestampdiff(microsecond, `q`.`quarantined_at`, utc_timestamp(3)) div 1000 as `quarantinedMsAgo`, q.payload from `holdfast_quarantine` as q where q.id = ?
for update;

commit;
