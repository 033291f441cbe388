start transaction isolation level read committed;

update "holdfast_tasks"
set attempts = attempts + 1, last_error = $1, retry_at = clock_timestamp() + ($2)::float8 * interval '1 millisecond',
claimed_by = null, claim_expires_at = null
where process_id = $3 and nonce = $4;

commit;
