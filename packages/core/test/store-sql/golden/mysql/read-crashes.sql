select job_ref, count from `holdfast_crashes`
where queue = ? and job_ref in (?, ?, ?, ?) and last_crash_at > date_add(utc_timestamp(3), interval round((?) * 1000) microsecond);
