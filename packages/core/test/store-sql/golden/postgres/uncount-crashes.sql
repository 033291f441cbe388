update "holdfast_crashes" set count = count - 1
where queue = $1 and job_ref in ($2, $3, $4) and count > 0;
