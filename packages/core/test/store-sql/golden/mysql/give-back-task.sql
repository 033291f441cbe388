update `holdfast_tasks`
set process_id = ?
where process_id = ? and nonce = ? and claim_token is null;
