select t.process_id as `processId`,
case when t.claim_token is not null then 'recovering'
when p.process_id is null then 'dead' else 'alive' end as `state`
from `holdfast_tasks` as t
left join `holdfast_processes` as p
on p.process_id = t.process_id and p.state = 'alive' and p.lease_expires_at >= utc_timestamp(3)
where t.queue = ? and t.job_ref = ?;
