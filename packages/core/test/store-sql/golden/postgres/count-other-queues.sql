select queue, count(*) as tasks from "holdfast_tasks"
where process_id = $1 and queue not in ($2, $3) group by queue;
