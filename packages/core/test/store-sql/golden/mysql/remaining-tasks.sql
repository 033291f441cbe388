select process_id, id from `holdfast_tasks` where (process_id, id) in ((?, ?), (?, ?), (?, ?), (?, ?));
