insert into "holdfast_locks" (name, term) values ($1, 0) on conflict ("name") do nothing;
