start transaction isolation level read committed;

select process_id from "holdfast_processes"
where process_id = $1 and state = 'alive' for update skip locked;

update "holdfast_processes" set epoch = $1 where process_id = $2 and epoch < $3;

select nonce from "holdfast_tasks" where process_id = $1 and nonce in ($2, $3) and claim_token is null order by process_id, nonce for update skip locked;

delete from "holdfast_tasks" where process_id = $1 and nonce in ($2) and claim_token is null;

select nonce from "holdfast_tasks" where process_id = $1 and nonce in ($2, $3) and claim_token is null;

commit;
