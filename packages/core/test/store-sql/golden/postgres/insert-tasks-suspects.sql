with alive as (
select p.process_id from "holdfast_processes" as p
where p.process_id = $1 and p.state = 'alive' and p.epoch <= $2 for key share of p
), task ("nonce", "id", "queue", "job_ref", "payload", "on_crash") as (values (106652627894369, $3, $4, $5, $6, $7), (107752139522146, $8, $9, $10, $11, $12), (108851651149923, $13, $14, $15, $16, $17), (109951162777700, $18, $19, $20, $21, $22))
insert into "holdfast_tasks" (process_id, "nonce", "id", "queue", "job_ref", "payload", "on_crash", created_at, attempts)
select alive.process_id, "task"."nonce", "task"."id", "task"."queue", "task"."job_ref", "task"."payload", "task"."on_crash", clock_timestamp(), 0 from alive cross join task
where not exists (
select 1 from "holdfast_crashes" as c
where c.queue = "task"."queue" and c.job_ref = "task"."job_ref" and c.count >= $23
and c.last_crash_at > clock_timestamp() + ($24)::float8 * interval '1 millisecond')
on conflict ("queue", "job_ref") do update set "process_id" = "excluded"."process_id", "nonce" = "excluded"."nonce", "id" = "excluded"."id", "queue" = "excluded"."queue", "job_ref" = "excluded"."job_ref", "payload" = "excluded"."payload", "on_crash" = "excluded"."on_crash", "ended" = "excluded"."ended", "created_at" = "excluded"."created_at", "progress_at" = "excluded"."progress_at", "attempts" = "excluded"."attempts", "retry_at" = "excluded"."retry_at", "last_error" = "excluded"."last_error", "claimed_by" = "excluded"."claimed_by", "claim_token" = "excluded"."claim_token", "claim_expires_at" = "excluded"."claim_expires_at", "crashes" = "excluded"."crashes"
returning nonce;
