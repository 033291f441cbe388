select 'task' as kind, id as a, queue as b from `holdfast_tasks` where process_id = ? and id in (?)
union all select 'process', process_id, state from `holdfast_processes`
where process_id = ? and state = 'alive';
