delete from "holdfast_crashes" where last_crash_at < clock_timestamp() + ($1)::float8 * interval '1 millisecond';
