select queue, cast(`job_ref` as binary) as `jobRef` from `holdfast_tasks` where (queue, job_ref) in ((?, ?)) union all select queue, cast(`job_ref` as binary) as `jobRef`
from `holdfast_crashes` as c
where (c.queue, c.job_ref) in ((?, ?)) and c.count >= ?
and c.last_crash_at > date_add(utc_timestamp(3), interval round((?) * 1000) microsecond);

select 1 as alive from `holdfast_processes` where process_id = ? and state = 'alive';

set transaction isolation level read committed;

begin;

select @@session.wait_timeout as silence, @@session.innodb_lock_wait_timeout as locks;

set session wait_timeout = 3, session innodb_lock_wait_timeout = 1;

select queue, cast(`job_ref` as binary) as `jobRef`
from `holdfast_crashes` as c
where (c.queue, c.job_ref) in ((?, ?)) and c.count >= ?
and c.last_crash_at > date_add(utc_timestamp(3), interval round((?) * 1000) microsecond);

select process_id as `processId`, nonce, queue, cast(`job_ref` as binary) as `jobRef`,
job_attempt as attempt
from `holdfast_tasks` where (queue, job_ref) in ((?, ?));

select process_id as `processId`, nonce, queue, cast(`job_ref` as binary) as `jobRef`,
job_attempt as attempt
from `holdfast_tasks` where (queue, job_ref) in ((?, ?)) order by process_id, nonce for update skip locked;

set session wait_timeout = 28800, session innodb_lock_wait_timeout = 50;

commit;
