select process_id from `holdfast_processes` as p
where p.state <> 'alive' and not exists (select 1 from `holdfast_tasks` as t where t.process_id = `p`.`process_id`) order by process_id;

delete from `holdfast_processes`
where process_id = ? and state <> 'alive' and not exists (select 1 from `holdfast_tasks` as t where t.process_id = ?);

delete from `holdfast_processes`
where process_id = ? and state <> 'alive' and not exists (select 1 from `holdfast_tasks` as t where t.process_id = ?);
