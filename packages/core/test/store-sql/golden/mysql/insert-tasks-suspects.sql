set transaction isolation level read committed;

begin;

select process_id from `holdfast_processes`
where process_id = ? and state = 'alive' and epoch <= ? lock in share mode;

select queue, job_ref from `holdfast_crashes`
where (queue, job_ref) in ((?, ?), (?, ?), (?, ?)) and count >= ?
and last_crash_at > date_add(utc_timestamp(3), interval round((?) * 1000) microsecond);

insert into `holdfast_tasks` (process_id, `nonce`, `id`, `queue`, `job_ref`, `payload`, `on_crash`, created_at, attempts)
values (?, 107752139522146, ?, ?, ?, ?, ?, utc_timestamp(3), ?), (?, 108851651149923, ?, ?, ?, ?, ?, utc_timestamp(3), ?), (?, 109951162777700, ?, ?, ?, ?, ?, utc_timestamp(3), ?) on duplicate key update `process_id` = values(`process_id`), `nonce` = values(`nonce`), `id` = values(`id`), `queue` = values(`queue`), `job_ref` = values(`job_ref`), `payload` = values(`payload`), `on_crash` = values(`on_crash`), `ended` = values(`ended`), `created_at` = values(`created_at`), `progress_at` = values(`progress_at`), `attempts` = values(`attempts`), `retry_at` = values(`retry_at`), `last_error` = values(`last_error`), `claimed_by` = values(`claimed_by`), `claim_token` = values(`claim_token`), `claim_expires_at` = values(`claim_expires_at`), `crashes` = values(`crashes`);

commit;
