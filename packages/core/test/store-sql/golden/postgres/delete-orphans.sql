delete from "holdfast_tasks" where process_id = $1 and nonce in ($2, $3);
