select 'task' as kind, id as a, queue as b from "holdfast_tasks" where process_id = $1 and id in ($2)
union all select 'process', process_id, state from "holdfast_processes"
where process_id = $3 and state = 'alive';
