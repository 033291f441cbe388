set transaction isolation level read committed;

begin;

select process_id from `holdfast_processes`
where process_id = ? and state = 'alive' and epoch <= ? lock in share mode;

commit;
