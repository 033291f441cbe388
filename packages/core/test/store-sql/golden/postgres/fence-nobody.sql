select process_id from "holdfast_processes"
where state = 'alive'
and (lease_expires_at < clock_timestamp() + (-greatest(0, $1 + 2 * heartbeat_interval_ms - orphan_threshold_ms,
$2 - orphan_threshold_ms))::float8 * interval '1 millisecond' or last_seen_at > clock_timestamp() + ($3)::float8 * interval '1 millisecond') and orphan_threshold_ms <= $4 and process_id <> $5;
