select queue, cast(`job_ref` as binary) as `jobRef` from `holdfast_tasks` where (queue, job_ref) in ((?, ?));

select 1 as alive from `holdfast_processes` where process_id = ? and state = 'alive';

set transaction isolation level read committed;

begin;

select @@session.wait_timeout as silence, @@session.innodb_lock_wait_timeout as locks;

set session wait_timeout = 3, session innodb_lock_wait_timeout = 1;

select process_id as `processId`, nonce, queue, cast(`job_ref` as binary) as `jobRef`,
job_attempt as attempt
from `holdfast_tasks` where (queue, job_ref) in ((?, ?));

select process_id as `processId`, nonce, queue, cast(`job_ref` as binary) as `jobRef`,
job_attempt as attempt
from `holdfast_tasks` where (queue, job_ref) in ((?, ?)) order by process_id, nonce for update skip locked;

delete from `holdfast_tasks` where (process_id, nonce) in ((?, ?));

insert into `holdfast_tasks` (process_id, `nonce`, `id`, `queue`, `job_ref`, `job_attempt`, `payload`, `on_crash`, created_at, attempts)
values (?, 122550222011047, ?, ?, ?, 0, ?, ?, utc_timestamp(3), ?);

select process_id from `holdfast_processes`
where process_id = ? and state = 'alive' and epoch <= ? lock in share mode;

set session wait_timeout = 28800, session innodb_lock_wait_timeout = 50;

commit;
