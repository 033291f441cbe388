with alive as (
select p.process_id from "holdfast_processes" as p
where p.process_id = $1 and p.state = 'alive' and p.epoch <= $2 for key share of p
), task ("nonce", "id", "queue", "job_ref", "payload", "on_crash") as (values (106652627894369, $3, $4, $5, $6, $7))
insert into "holdfast_tasks" (process_id, "nonce", "id", "queue", "job_ref", "payload", "on_crash", created_at, attempts)
select alive.process_id, "task"."nonce", "task"."id", "task"."queue", "task"."job_ref", "task"."payload", "task"."on_crash", clock_timestamp(), 0 from alive cross join task
where true
on conflict ("queue", "job_ref") do update set "process_id" = "excluded"."process_id", "nonce" = "excluded"."nonce", "id" = "excluded"."id", "queue" = "excluded"."queue", "job_ref" = "excluded"."job_ref", "payload" = "excluded"."payload", "on_crash" = "excluded"."on_crash", "ended" = "excluded"."ended", "created_at" = "excluded"."created_at", "progress_at" = "excluded"."progress_at", "attempts" = "excluded"."attempts", "retry_at" = "excluded"."retry_at", "last_error" = "excluded"."last_error", "claimed_by" = "excluded"."claimed_by", "claim_token" = "excluded"."claim_token", "claim_expires_at" = "excluded"."claim_expires_at", "crashes" = "excluded"."crashes"
returning nonce;
