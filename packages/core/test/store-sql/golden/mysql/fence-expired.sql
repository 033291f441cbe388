select process_id from `holdfast_processes`
where state = 'alive'
and (lease_expires_at < date_add(utc_timestamp(3), interval round((-greatest(0, ? + 2 * heartbeat_interval_ms - orphan_threshold_ms,
? - orphan_threshold_ms)) * 1000) microsecond) or last_seen_at > date_add(utc_timestamp(3), interval round((?) * 1000) microsecond)) and orphan_threshold_ms <= ? and process_id <> ?;

set transaction isolation level read committed;

begin;

select process_id, orphan_threshold_ms from `holdfast_processes`
where process_id in (?) and state = 'alive'
and (lease_expires_at < date_add(utc_timestamp(3), interval round((-greatest(0, ? + 2 * heartbeat_interval_ms - orphan_threshold_ms,
? - orphan_threshold_ms)) * 1000) microsecond) or last_seen_at > date_add(utc_timestamp(3), interval round((?) * 1000) microsecond))
and exists (
select 1 from `holdfast_processes` as judge
where judge.process_id = ? and judge.state = 'alive'
and judge.last_seen_at >= date_add(utc_timestamp(3), interval round((?) * 1000) microsecond)
and judge.last_seen_at <= date_add(utc_timestamp(3), interval round((?) * 1000) microsecond))
order by process_id for update skip locked;

update `holdfast_processes` set state = 'dead' where process_id = ? and state = 'alive'
and (lease_expires_at < date_add(utc_timestamp(3), interval round((-greatest(0, ? + 2 * heartbeat_interval_ms - orphan_threshold_ms,
? - orphan_threshold_ms)) * 1000) microsecond) or last_seen_at > date_add(utc_timestamp(3), interval round((?) * 1000) microsecond));

commit;
