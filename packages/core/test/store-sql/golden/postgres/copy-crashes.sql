insert into "holdfast_crashes" (queue, job_ref, count, last_crash_at)
select c.queue, $1, c.count, c.last_crash_at from "holdfast_crashes" as c
where c.queue = $2 and c.job_ref = $3
on conflict ("queue", "job_ref") do update set "count" = "excluded"."count", "last_crash_at" = "excluded"."last_crash_at";
