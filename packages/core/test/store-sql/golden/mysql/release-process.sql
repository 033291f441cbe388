set transaction isolation level read committed;

begin;

select process_id from `holdfast_processes` where process_id = ? for update;

update `holdfast_processes` set state = 'released'
where process_id = ? and state = 'alive';

commit;
