update `holdfast_tasks`
set process_id = ?
where process_id = ? and id = ? and claim_token is null;
