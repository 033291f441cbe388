update "holdfast_tasks"
set process_id = $1
where process_id = $2 and nonce = $3 and claim_token is null returning 1 as written;
