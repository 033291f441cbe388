set transaction isolation level read committed;

begin;

update `holdfast_tasks` set crashes = ?
where process_id = ? and nonce in (?, ?) and claim_token = ?;

commit;
