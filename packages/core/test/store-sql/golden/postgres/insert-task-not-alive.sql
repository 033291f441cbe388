with moment as materialized (
select set_config('lock_timeout', $1, true)
), alive as (
select p.process_id from "holdfast_processes" as p cross join moment
where p.process_id = $2 and p.state = 'alive' and p.epoch <= $3 for key share of p
), task ("nonce", "id", "queue", "job_ref", "job_attempt", "payload", "on_crash") as (values (106652627894369, $4, $5, $6, 0, $7, $8))
insert into "holdfast_tasks" (process_id, "nonce", "id", "queue", "job_ref", "job_attempt", "payload", "on_crash", created_at, attempts)
select alive.process_id, "task"."nonce", "task"."id", "task"."queue", "task"."job_ref", "task"."job_attempt", "task"."payload", "task"."on_crash", clock_timestamp(), 0 from alive cross join task
where true
on conflict (queue, job_ref) do nothing
returning nonce;

select 1 as alive from "holdfast_processes" where process_id = $1 and state = 'alive';
