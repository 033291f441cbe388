select queue, count(*) as tasks from "holdfast_tasks" where ended is null group by queue order by queue;
