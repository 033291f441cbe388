update "holdfast_processes"
set beat = beat + 1, last_seen_at = clock_timestamp(), lease_expires_at = clock_timestamp() + ($1)::float8 * interval '1 millisecond'
where process_id = $2 and state = 'alive' returning (extract(epoch from clock_timestamp()) * 1000)::float8 as now;
