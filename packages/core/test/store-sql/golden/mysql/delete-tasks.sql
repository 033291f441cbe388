set transaction isolation level read committed;

begin;

select id from `holdfast_tasks`
where process_id = ? and id in (?, ?, ?, ?, ?) and claim_token is null
order by process_id, id for update;

delete from `holdfast_tasks` where process_id = ? and id in (?, ?, ?);

commit;
