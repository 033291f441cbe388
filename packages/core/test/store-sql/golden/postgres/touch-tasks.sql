start transaction isolation level read committed;

select nonce from "holdfast_tasks" where process_id = $1 and nonce in ($2, $3, $4, $5) and claim_token is null order by process_id, nonce for update skip locked;

update "holdfast_tasks" set progress_at = clock_timestamp() where process_id = $1 and nonce in ($2, $3) and claim_token is null;

select nonce from "holdfast_tasks" where process_id = $1 and nonce in ($2, $3, $4, $5) and claim_token is null;

commit;
