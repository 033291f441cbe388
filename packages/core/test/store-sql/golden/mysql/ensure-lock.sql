insert into `holdfast_locks` (name, term) values (?, 0) on duplicate key update `name` = `name`;
