select nonce, ended, claim_token as token from "holdfast_tasks"
where process_id = $1 and nonce in ($2, $3)
order by process_id, nonce for update skip locked;

start transaction isolation level read committed;

select nonce, ended, claim_token as token from "holdfast_tasks"
where process_id = $1 and nonce in ($2, $3);

select id from "holdfast_recoveries" where id in ($1, $2);

commit;
