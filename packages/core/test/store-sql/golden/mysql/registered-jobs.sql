select cast(`job_ref` as binary) as `jobRef` from `holdfast_tasks`
where queue = ? and job_ref in (?, ?, ?, ?);
