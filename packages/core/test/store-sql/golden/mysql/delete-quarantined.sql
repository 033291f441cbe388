delete from `holdfast_quarantine` where id = ?;
