select 1 as found from `holdfast_tasks`
where process_id = ? and `id` = ?
and claim_token is null and ended is null;
