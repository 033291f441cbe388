select queue, count(*) as tasks from `holdfast_tasks`
where process_id = ? and queue not in (?, ?) group by queue;
