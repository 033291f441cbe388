update `holdfast_locks`
set holder = null, acquired_at = null, expires_at = null, last_run_at = utc_timestamp(3)
where name = ? and holder = ? and term = ?;
