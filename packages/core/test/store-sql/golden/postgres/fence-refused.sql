select process_id from "holdfast_processes"
where state = 'alive'
and (lease_expires_at < clock_timestamp() + (-greatest(0, $1 + 2 * heartbeat_interval_ms - orphan_threshold_ms,
$2 - orphan_threshold_ms))::float8 * interval '1 millisecond' or last_seen_at > clock_timestamp() + ($3)::float8 * interval '1 millisecond') and orphan_threshold_ms <= $4 and process_id <> $5;

start transaction isolation level read committed;

select process_id, orphan_threshold_ms from "holdfast_processes"
where process_id in ($1) and state = 'alive'
and (lease_expires_at < clock_timestamp() + (-greatest(0, $2 + 2 * heartbeat_interval_ms - orphan_threshold_ms,
$3 - orphan_threshold_ms))::float8 * interval '1 millisecond' or last_seen_at > clock_timestamp() + ($4)::float8 * interval '1 millisecond')
and exists (
select 1 from "holdfast_processes" as judge
where judge.process_id = $5 and judge.state = 'alive'
and judge.last_seen_at >= clock_timestamp() + ($6)::float8 * interval '1 millisecond'
and judge.last_seen_at <= clock_timestamp() + ($7)::float8 * interval '1 millisecond')
order by process_id for update skip locked;

commit;
