select 1 as found from "holdfast_tasks"
where process_id = $1 and "nonce" = $2
and claim_token is null and ended is null;
