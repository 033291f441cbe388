start transaction isolation level read committed;

select id, claim_token as token from "holdfast_tasks"
where process_id = $1 and id in ($2, $3, $4)
order by process_id, id for update;

commit;
