start transaction isolation level read committed;

select nonce from "holdfast_tasks"
where process_id = $1 and nonce in ($2, $3, $4, $5, $6) and claim_token is null
order by process_id, nonce for update;

commit;
