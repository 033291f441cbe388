start transaction isolation level read committed;

select id from "holdfast_tasks"
where process_id = $1 and id in ($2, $3, $4, $5, $6) and claim_token is null
order by process_id, id for update;

commit;
