set transaction isolation level read committed;

begin;

select id, claim_token as token from `holdfast_tasks`
where process_id = ? and id in (?, ?, ?)
order by process_id, id for update;

commit;
