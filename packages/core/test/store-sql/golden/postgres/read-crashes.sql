select job_ref, count from "holdfast_crashes"
where queue = $1 and job_ref in ($2, $3, $4, $5) and last_crash_at > clock_timestamp() + ($6)::float8 * interval '1 millisecond';
