select job_ref from `holdfast_tasks` where queue = ? and job_ref in (?, ?, ?, ?);
