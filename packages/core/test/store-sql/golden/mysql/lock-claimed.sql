set transaction isolation level read committed;

begin;

select nonce, claim_token as token from `holdfast_tasks`
where process_id = ? and nonce in (?, ?, ?)
order by process_id, nonce for update;

commit;
