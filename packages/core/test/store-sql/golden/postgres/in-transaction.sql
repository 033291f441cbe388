start transaction isolation level read committed;

select 1 as one;

rollback;

start transaction isolation level read committed;

select 1 as one;

rollback;
