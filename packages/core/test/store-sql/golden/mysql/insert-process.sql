insert into `holdfast_processes` (process_id, state, hostname, pid, label, version, capacity,
heartbeat_interval_ms, orphan_threshold_ms, beat, epoch, started_at, last_seen_at, lease_expires_at)
values (?, 'alive', ?, ?, ?, ?, ?,
?, ?, 0, 0, utc_timestamp(3), utc_timestamp(3),
date_add(utc_timestamp(3), interval round((?) * 1000) microsecond));

select timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000 as now;
