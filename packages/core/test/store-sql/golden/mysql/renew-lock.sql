update `holdfast_locks` set expires_at = date_add(utc_timestamp(3), interval round((?) * 1000) microsecond)
where name = ? and holder = ? and term = ?;

select 1 as held from `holdfast_locks`
where name = ? and holder = ? and term = ?;
