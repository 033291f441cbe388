set transaction isolation level read committed;

begin;

update `holdfast_tasks` set job_ref = ? where process_id = ? and nonce = ?;

commit;
