start transaction isolation level read committed;

select 'task' as kind, id as a, claim_token as b from "holdfast_tasks"
where process_id = $1 and id in ($2, $3, $4, $5)
union all select 'process', process_id, state from "holdfast_processes"
where process_id = $6 and state = 'alive' union all select 'job', queue, job_ref from "holdfast_tasks"
where (queue, job_ref) in (($7, $8), ($9, $10), ($11, $12));

select id from "holdfast_tasks" where process_id = $1 and id in ($2, $3)
order by process_id, id for update skip locked;

commit;
