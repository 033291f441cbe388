update "holdfast_tasks"
set process_id = $1, payload = $2
where process_id = $3 and nonce = $4 and claim_token is null returning 1 as written;
