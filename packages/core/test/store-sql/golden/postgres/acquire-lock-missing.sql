update "holdfast_locks"
set holder = $1, term = term + 1, acquired_at = clock_timestamp(), expires_at = clock_timestamp() + ($2)::float8 * interval '1 millisecond'
where name = $3
and (holder is null or expires_at < clock_timestamp() or acquired_at > clock_timestamp() + ($4)::float8 * interval '1 millisecond'
or not exists (
select 1 from "holdfast_processes" as p
where p.process_id = holder and p.state = 'alive' and p.lease_expires_at >= clock_timestamp()))
and (last_run_at is null or last_run_at <= clock_timestamp() + ($5)::float8 * interval '1 millisecond' or last_run_at > clock_timestamp() + ($6)::float8 * interval '1 millisecond');

select holder, term, (extract(epoch from clock_timestamp() - "expires_at") * 1000)::float8 as held,
(extract(epoch from clock_timestamp() - "last_run_at") * 1000)::float8 as ran
from "holdfast_locks" where name = $1;

insert into "holdfast_locks" (name, term) values ($1, 0) on conflict ("name") do nothing;
