delete from `holdfast_tasks`;

delete from `holdfast_processes`;

delete from `holdfast_locks`;

delete from `holdfast_crashes`;

delete from `holdfast_quarantine`;

delete from `holdfast_recoveries`;
