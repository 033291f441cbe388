start transaction isolation level read committed;

select id from "holdfast_tasks"
where process_id = $1 and id in ($2, $3) and claim_token = $4
order by process_id, id for update;

commit;
