begin;

delete from `holdfast_tasks`
where process_id = ? and id = ? and claim_token is null;

rollback;
