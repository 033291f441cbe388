insert into "holdfast_crashes" (queue, job_ref, count, last_crash_at) values ($1, $2, $3, clock_timestamp()), ($4, $5, $6, clock_timestamp())
on conflict ("queue", "job_ref") do update set "count" = "excluded"."count", "last_crash_at" = "excluded"."last_crash_at";
