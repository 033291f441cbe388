update "holdfast_quarantine" set job_ref = $1 where id = $2;
