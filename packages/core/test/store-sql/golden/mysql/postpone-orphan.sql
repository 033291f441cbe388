set transaction isolation level read committed;

begin;

update `holdfast_tasks`
set attempts = attempts + 1, last_error = ?, retry_at = date_add(utc_timestamp(3), interval round((?) * 1000) microsecond),
claimed_by = null, claim_expires_at = null
where process_id = ? and nonce = ?;

commit;
