select 1 as held from "holdfast_locks"
where name = $1 and holder = $2 and term = $3;
