select count(*) as count from `holdfast_quarantine`;
