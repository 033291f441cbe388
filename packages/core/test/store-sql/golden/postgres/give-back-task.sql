update "holdfast_tasks"
set process_id = $1
where process_id = $2 and id = $3 and claim_token is null;
