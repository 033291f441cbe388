delete from `holdfast_tasks` where process_id = ? and nonce in (?, ?);
