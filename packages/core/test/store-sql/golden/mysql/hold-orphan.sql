set transaction isolation level read committed;

begin;

update `holdfast_tasks`
set crashes = ?, retry_at = date_add(utc_timestamp(3), interval round((?) * 1000) microsecond),
claimed_by = null, claim_token = null, claim_expires_at = null
where process_id = ? and nonce = ?;

commit;
