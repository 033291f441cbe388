start transaction isolation level read committed;

select process_id from "holdfast_processes" where process_id = $1 for update;

update "holdfast_processes" set state = 'released'
where process_id = $1 and state = 'alive';

commit;
