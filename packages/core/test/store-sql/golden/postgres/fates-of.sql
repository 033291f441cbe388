select nonce, ended, claim_token as token from "holdfast_tasks"
where process_id = $1 and nonce in ($2, $3, $4)
order by process_id, nonce for update skip locked;

start transaction isolation level read committed;

select nonce, ended, claim_token as token from "holdfast_tasks"
where process_id = $1 and nonce in ($2);

commit;
