start transaction isolation level read committed;

commit;
