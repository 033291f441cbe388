select 1 as alive from `holdfast_processes` where process_id = ? and state = 'alive';
