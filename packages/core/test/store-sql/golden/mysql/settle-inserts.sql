set transaction isolation level read committed;

begin;

select process_id from `holdfast_processes`
where process_id = ? and state = 'alive' for update skip locked;

update `holdfast_processes` set epoch = ? where process_id = ? and epoch < ?;

select nonce from `holdfast_tasks` where process_id = ? and nonce in (?, ?) and claim_token is null order by process_id, nonce for update skip locked;

delete from `holdfast_tasks` where process_id = ? and nonce in (?) and claim_token is null;

select nonce from `holdfast_tasks` where process_id = ? and nonce in (?, ?) and claim_token is null;

commit;
