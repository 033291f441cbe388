select queue, cast(`job_ref` as binary) as `jobRef` from `holdfast_tasks` where (queue, job_ref) in ((?, ?));

insert into `holdfast_tasks` (process_id, `nonce`, `id`, `queue`, `job_ref`, `job_attempt`, `payload`, `on_crash`, created_at, attempts)
select p.process_id, `task`.`nonce`, `task`.`id`, `task`.`queue`, `task`.`job_ref`, `task`.`job_attempt`, `task`.`payload`, `task`.`on_crash`, utc_timestamp(3), 0
from `holdfast_processes` as p cross join (select 106652627894369 as `nonce`, cast(? as binary) as `id`, cast(? as binary) as `queue`, ? as `job_ref`, 0 as `job_attempt`, cast(? as binary) as `payload`, ? as `on_crash` union all select 107752139522146 as `nonce`, cast(? as binary) as `id`, cast(? as binary) as `queue`, cast(? as binary) as `job_ref`, 0 as `job_attempt`, cast(? as binary) as `payload`, ? as `on_crash`) as task
where p.process_id = ? and p.state = 'alive' and p.epoch <= ? lock in share mode;

select 1 as alive from `holdfast_processes` where process_id = ? and state = 'alive';
