select queue, count(*) as tasks from "holdfast_tasks" group by queue order by queue;
