set transaction isolation level read committed;

begin;

select @@session.wait_timeout as silence, @@session.innodb_lock_wait_timeout as locks;

set session wait_timeout = 2, session innodb_lock_wait_timeout = 50;

select @@session.wait_timeout as ms;

set session wait_timeout = 28800, session innodb_lock_wait_timeout = 50;

commit;

select @@session.wait_timeout as ms;
