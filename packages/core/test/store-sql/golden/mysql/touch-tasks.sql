update `holdfast_tasks` set progress_at = utc_timestamp(3) where process_id = ? and id in (?, ?, ?, ?) and claim_token is null;

select id from `holdfast_tasks` where process_id = ? and id in (?, ?, ?, ?) and claim_token is null;
