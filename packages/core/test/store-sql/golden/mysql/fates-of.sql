set transaction isolation level read committed;

begin;

select 'task' as kind, id as a, claim_token as b from `holdfast_tasks`
where process_id = ? and id in (?, ?, ?, ?)
union all select 'process', process_id, state from `holdfast_processes`
where process_id = ? and state = 'alive' union all select 'job', queue, job_ref from `holdfast_tasks`
where (queue, job_ref) in ((?, ?), (?, ?), (?, ?));

select id from `holdfast_tasks` where process_id = ? and id in (?, ?)
order by process_id, id for update skip locked;

commit;
