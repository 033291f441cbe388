start transaction isolation level read committed;

update "holdfast_tasks" set crashes = $1
where process_id = $2 and nonce in ($3, $4) and claim_token = $5;

commit;
