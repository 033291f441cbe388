insert into "holdfast_processes" (process_id, state, hostname, pid, label, version, capacity,
heartbeat_interval_ms, orphan_threshold_ms, beat, epoch, started_at, last_seen_at, lease_expires_at)
values ($1, 'alive', $2, $3, $4, $5, $6,
$7, $8, 0, 0, clock_timestamp(), clock_timestamp(),
clock_timestamp() + ($9)::float8 * interval '1 millisecond') returning (extract(epoch from clock_timestamp()) * 1000)::float8 as now;
