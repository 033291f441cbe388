select process_id, id from "holdfast_tasks" where (process_id, id) in (($1, $2), ($3, $4), ($5, $6), ($7, $8));
