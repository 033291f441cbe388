start transaction isolation level read committed;

update "holdfast_tasks"
set claimed_by = $1, claim_token = $2, claim_expires_at = clock_timestamp() + ($3)::float8 * interval '1 millisecond'
where process_id = $4 and nonce in ($5, $6);

commit;
