set transaction isolation level read committed;

begin;

select 1 as one;

rollback;

set transaction isolation level read committed;

begin;

select 1 as one;

rollback;
