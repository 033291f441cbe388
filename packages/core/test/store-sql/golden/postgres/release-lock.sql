update "holdfast_locks"
set holder = null, acquired_at = null, expires_at = null, last_run_at = clock_timestamp()
where name = $1 and holder = $2 and term = $3;
