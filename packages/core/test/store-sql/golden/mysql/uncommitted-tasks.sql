set transaction isolation level read committed;

begin;

select id from `holdfast_tasks` where process_id = ? and id in (?, ?, ?) order by process_id, id for update skip locked;

select id from `holdfast_tasks` where process_id = ? and id in (?, ?, ?);

commit;
