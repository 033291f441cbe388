select queue, cast(`job_ref` as binary) as `jobRef` from `holdfast_tasks` where (queue, job_ref) in ((?, ?), (?, ?), (?, ?)) union all select queue, cast(`job_ref` as binary) as `jobRef`
from `holdfast_crashes` as c
where (c.queue, c.job_ref) in ((?, ?), (?, ?), (?, ?)) and c.count >= ?
and c.last_crash_at > date_add(utc_timestamp(3), interval round((?) * 1000) microsecond);

insert into `holdfast_tasks` (process_id, `nonce`, `id`, `queue`, `job_ref`, `job_attempt`, `payload`, `on_crash`, created_at, attempts)
select p.process_id, `task`.`nonce`, `task`.`id`, `task`.`queue`, `task`.`job_ref`, `task`.`job_attempt`, `task`.`payload`, `task`.`on_crash`, utc_timestamp(3), 0
from `holdfast_processes` as p cross join (select 107752139522146 as `nonce`, cast(? as binary) as `id`, cast(? as binary) as `queue`, cast(? as binary) as `job_ref`, 0 as `job_attempt`, cast(? as binary) as `payload`, ? as `on_crash` union all select 108851651149923 as `nonce`, cast(? as binary) as `id`, cast(? as binary) as `queue`, cast(? as binary) as `job_ref`, 0 as `job_attempt`, cast(? as binary) as `payload`, ? as `on_crash` union all select 109951162777700 as `nonce`, cast(? as binary) as `id`, cast(? as binary) as `queue`, ? as `job_ref`, 0 as `job_attempt`, cast(? as binary) as `payload`, ? as `on_crash`) as task
where p.process_id = ? and p.state = 'alive' and p.epoch <= ? lock in share mode;

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
