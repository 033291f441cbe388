set transaction isolation level read committed;

begin;

update `holdfast_tasks`
set claimed_by = ?, claim_token = ?, claim_expires_at = date_add(utc_timestamp(3), interval round((?) * 1000) microsecond)
where process_id = ? and nonce in (?, ?);

commit;
