set transaction isolation level read committed;

begin;

select nonce, cast(`id` as binary) as id, cast(`job_ref` as binary) as `jobRef`,
cast(`payload` as binary) as payload, on_crash as `onCrash`, ended, attempts,
last_error as `lastError`, crashes
from `holdfast_tasks`
where process_id = ? and nonce > 0 and queue = ?
and (retry_at is null or retry_at <= utc_timestamp(3))
and (claim_token is null or claim_expires_at < utc_timestamp(3) or not exists (
select 1 from `holdfast_processes` as p
where p.process_id = claimed_by and p.state = 'alive' and p.lease_expires_at >= utc_timestamp(3)))
order by process_id, nonce limit 2 for update skip locked;

commit;
