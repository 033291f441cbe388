delete from "holdfast_recoveries" where recovered_at < clock_timestamp() + ($1)::float8 * interval '1 millisecond';
