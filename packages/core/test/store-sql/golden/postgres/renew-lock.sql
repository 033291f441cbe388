update "holdfast_locks" set expires_at = clock_timestamp() + ($1)::float8 * interval '1 millisecond'
where name = $2 and holder = $3 and term = $4;

select 1 as held from "holdfast_locks"
where name = $1 and holder = $2 and term = $3;
