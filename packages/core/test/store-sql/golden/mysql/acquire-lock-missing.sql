update `holdfast_locks`
set holder = ?, term = term + 1, acquired_at = utc_timestamp(3), expires_at = date_add(utc_timestamp(3), interval round((?) * 1000) microsecond)
where name = ?
and (holder is null or expires_at < utc_timestamp(3) or acquired_at > date_add(utc_timestamp(3), interval round((?) * 1000) microsecond)
or not exists (
select 1 from `holdfast_processes` as p
where p.process_id = holder and p.state = 'alive' and p.lease_expires_at >= utc_timestamp(3)))
and (last_run_at is null or last_run_at <= date_add(utc_timestamp(3), interval round((?) * 1000) microsecond) or last_run_at > date_add(utc_timestamp(3), interval round((?) * 1000) microsecond));

select holder, term, timestampdiff(microsecond, `expires_at`, utc_timestamp(3)) div 1000 as held,
timestampdiff(microsecond, `last_run_at`, utc_timestamp(3)) div 1000 as ran
from `holdfast_locks` where name = ?;

insert into `holdfast_locks` (name, term) values (?, 0) on duplicate key update `name` = `name`;
