start transaction isolation level read committed;

select set_config('idle_in_transaction_session_timeout', $1, true);

select current_setting('idle_in_transaction_session_timeout') as ms;

commit;

select current_setting('idle_in_transaction_session_timeout') as ms;
