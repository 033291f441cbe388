update `holdfast_crashes` set count = count - 1
where queue = ? and job_ref in (?, ?, ?) and count > 0;
