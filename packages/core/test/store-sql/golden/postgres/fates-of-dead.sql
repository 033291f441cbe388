start transaction isolation level read committed;

select 'task' as kind, id as a, claim_token as b from "holdfast_tasks"
where process_id = $1 and id in ($2, $3, $4)
union all select 'process', process_id, state from "holdfast_processes"
where process_id = $5 and state = 'alive' union all select 'job', queue, job_ref from "holdfast_tasks"
where (queue, job_ref) in (($6, $7), ($8, $9), ($10, $11));

select id from "holdfast_tasks" where process_id = $1 and id in ($2)
order by process_id, id for update skip locked;

select task_id from "holdfast_recoveries"
where from_process = $1 and task_id in ($2, $3);

commit;
