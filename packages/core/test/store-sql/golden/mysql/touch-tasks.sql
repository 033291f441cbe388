set transaction isolation level read committed;

begin;

select nonce from `holdfast_tasks` where process_id = ? and nonce in (?, ?, ?, ?) and claim_token is null order by process_id, nonce for update skip locked;

update `holdfast_tasks` set progress_at = utc_timestamp(3) where process_id = ? and nonce in (?, ?) and claim_token is null;

select nonce from `holdfast_tasks` where process_id = ? and nonce in (?, ?, ?, ?) and claim_token is null;

commit;
