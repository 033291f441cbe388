select process_id from `holdfast_processes`
where state = 'alive'
and (lease_expires_at < date_add(utc_timestamp(3), interval round((-greatest(0, ? + 2 * heartbeat_interval_ms - orphan_threshold_ms,
? - orphan_threshold_ms)) * 1000) microsecond) or last_seen_at > date_add(utc_timestamp(3), interval round((?) * 1000) microsecond)) and orphan_threshold_ms <= ? and process_id <> ?;
