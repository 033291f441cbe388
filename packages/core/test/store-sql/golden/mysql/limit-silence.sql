set transaction isolation level read committed;

begin;

select @@session.wait_timeout as old;

set session wait_timeout = 2;

select @@session.wait_timeout as ms;

set session wait_timeout = 28800;

commit;

select @@session.wait_timeout as ms;
