insert into `holdfast_tasks` (process_id, `nonce`, `id`, `queue`, `job_ref`, `payload`, `on_crash`, created_at, attempts)
select p.process_id, 106652627894369, ?, ?, ?, ?, ?, utc_timestamp(3), 0 from `holdfast_processes` as p
where p.process_id = ? and p.state = 'alive' and p.epoch <= ?  lock in share mode
on duplicate key update `process_id` = values(`process_id`), `nonce` = values(`nonce`), `id` = values(`id`), `queue` = values(`queue`), `job_ref` = values(`job_ref`), `payload` = values(`payload`), `on_crash` = values(`on_crash`), `ended` = values(`ended`), `created_at` = values(`created_at`), `progress_at` = values(`progress_at`), `attempts` = values(`attempts`), `retry_at` = values(`retry_at`), `last_error` = values(`last_error`), `claimed_by` = values(`claimed_by`), `claim_token` = values(`claim_token`), `claim_expires_at` = values(`claim_expires_at`), `crashes` = values(`crashes`);

set transaction isolation level read committed;

begin;

select process_id from `holdfast_processes`
where process_id = ? and state = 'alive' and epoch <= ? lock in share mode;

commit;
