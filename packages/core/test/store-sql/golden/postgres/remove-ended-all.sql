start transaction isolation level read committed;

select nonce from "holdfast_tasks" where process_id = $1 and nonce in ($2) and ended is not null order by process_id, nonce for update skip locked;

delete from "holdfast_tasks" where process_id = $1 and nonce in ($2) and ended is not null;

commit;
