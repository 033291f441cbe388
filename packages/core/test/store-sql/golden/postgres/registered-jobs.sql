select "job_ref" as "jobRef" from "holdfast_tasks"
where queue = $1 and job_ref in ($2, $3, $4, $5);
