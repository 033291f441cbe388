with moment as materialized (
select set_config('lock_timeout', $1, true)
), alive as (
select p.process_id from "holdfast_processes" as p cross join moment
where p.process_id = $2 and p.state = 'alive' and p.epoch <= $3 for key share of p
), task ("nonce", "id", "queue", "job_ref", "job_attempt", "payload", "on_crash") as (values (122550222011047, $4, $5, $6, 0, $7, $8))
insert into "holdfast_tasks" (process_id, "nonce", "id", "queue", "job_ref", "job_attempt", "payload", "on_crash", created_at, attempts)
select alive.process_id, "task"."nonce", "task"."id", "task"."queue", "task"."job_ref", "task"."job_attempt", "task"."payload", "task"."on_crash", clock_timestamp(), 0 from alive cross join task
where true
on conflict (queue, job_ref) do nothing
returning nonce;

select 1 as alive from "holdfast_processes" where process_id = $1 and state = 'alive';

start transaction isolation level read committed;

select set_config('idle_in_transaction_session_timeout', $1, true), set_config('lock_timeout', $2, true);

select process_id as "processId", nonce, queue, "job_ref" as "jobRef",
job_attempt as attempt
from "holdfast_tasks" where (queue, job_ref) in (($1, $2));

select process_id as "processId", nonce, queue, "job_ref" as "jobRef",
job_attempt as attempt
from "holdfast_tasks" where (queue, job_ref) in (($1, $2)) order by process_id, nonce for update skip locked;

delete from "holdfast_tasks" where (process_id, nonce) in (($1, $2));

insert into "holdfast_tasks" (process_id, "nonce", "id", "queue", "job_ref", "job_attempt", "payload", "on_crash", created_at, attempts)
values ($1, 122550222011047, $2, $3, $4, 0, $5, $6, clock_timestamp(), $7);

select process_id from "holdfast_processes"
where process_id = $1 and state = 'alive' and epoch <= $2 for key share;

commit;
