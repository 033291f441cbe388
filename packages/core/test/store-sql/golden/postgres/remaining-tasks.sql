select process_id, nonce from "holdfast_tasks" where (process_id, nonce) in (($1, $2), ($3, $4), ($5, $6), ($7, $8));
