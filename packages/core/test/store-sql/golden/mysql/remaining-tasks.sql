select process_id, nonce from `holdfast_tasks` where (process_id, nonce) in ((?, ?), (?, ?), (?, ?), (?, ?));
