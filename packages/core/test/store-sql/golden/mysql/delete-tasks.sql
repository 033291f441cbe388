set transaction isolation level read committed;

begin;

select nonce from `holdfast_tasks`
where process_id = ? and nonce in (?, ?, ?, ?, ?) and claim_token is null
order by process_id, nonce for update;

delete from `holdfast_tasks` where process_id = ? and nonce in (?, ?, ?);

commit;
