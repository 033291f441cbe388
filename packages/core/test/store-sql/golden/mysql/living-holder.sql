select p.process_id from `holdfast_tasks` as t
join `holdfast_processes` as p on p.process_id = t.process_id
where t.queue = ? and t.job_ref = ? and t.claim_token is null
and p.state = 'alive' and p.lease_expires_at >= utc_timestamp(3);
