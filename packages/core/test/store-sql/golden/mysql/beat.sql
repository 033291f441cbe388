update `holdfast_processes`
set beat = beat + 1, last_seen_at = utc_timestamp(3), lease_expires_at = date_add(utc_timestamp(3), interval round((?) * 1000) microsecond)
where process_id = ? and state = 'alive';

select timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000 as now;
