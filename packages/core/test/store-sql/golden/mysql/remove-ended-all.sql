set transaction isolation level read committed;

begin;

select nonce from `holdfast_tasks` where process_id = ? and nonce in (?) and ended is not null order by process_id, nonce for update skip locked;

delete from `holdfast_tasks` where process_id = ? and nonce in (?) and ended is not null;

commit;
