select nonce, ended, claim_token as token from `holdfast_tasks`
where process_id = ? and nonce in (?, ?)
order by process_id, nonce for update skip locked;

set transaction isolation level read committed;

begin;

select nonce, ended, claim_token as token from `holdfast_tasks`
where process_id = ? and nonce in (?, ?);

select id from `holdfast_recoveries` where id in (?, ?);

commit;
