delete from "holdfast_tasks" where process_id = $1 and id in ($2, $3);
