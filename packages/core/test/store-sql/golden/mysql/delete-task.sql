delete from `holdfast_tasks`
where process_id = ? and nonce = ? and claim_token is null;
