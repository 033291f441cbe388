update `holdfast_quarantine` set job_ref = ? where id = ?;
