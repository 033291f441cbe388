with recursive owner (process_id, n) as (
select min(process_id), 1 from `holdfast_tasks` where process_id > ?
union all
select (select min(t.process_id) from `holdfast_tasks` as t where t.process_id > owner.process_id), n + 1
from owner where owner.process_id is not null and n < 500
)
select owner.process_id as `processId`, p.state,
timestampdiff(microsecond, `p`.`lease_expires_at`, utc_timestamp(3)) div 1000 as `orphanedForMs`
from owner left join `holdfast_processes` as p on p.process_id = owner.process_id
where owner.process_id is not null order by owner.process_id;
