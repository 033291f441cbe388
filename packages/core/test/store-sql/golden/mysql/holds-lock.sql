select 1 as held from `holdfast_locks`
where name = ? and holder = ? and term = ?;
