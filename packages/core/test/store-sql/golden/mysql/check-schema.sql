select id, breaking from `holdfast_migrations` order by id;

select 1 as one from `holdfast_processes` where 1 = 0;

insert into `holdfast_processes` select * from `holdfast_processes` where 1 = 0;

update `holdfast_processes` set `state` = '' where 1 = 0;

delete from `holdfast_processes` where 1 = 0;

select 1 as one from `holdfast_tasks` where 1 = 0;

insert into `holdfast_tasks` select * from `holdfast_tasks` where 1 = 0;

update `holdfast_tasks` set `queue` = '' where 1 = 0;

delete from `holdfast_tasks` where 1 = 0;

select 1 as one from `holdfast_locks` where 1 = 0;

insert into `holdfast_locks` select * from `holdfast_locks` where 1 = 0;

update `holdfast_locks` set `holder` = '' where 1 = 0;

delete from `holdfast_locks` where 1 = 0;

select 1 as one from `holdfast_crashes` where 1 = 0;

insert into `holdfast_crashes` select * from `holdfast_crashes` where 1 = 0;

update `holdfast_crashes` set `queue` = '' where 1 = 0;

delete from `holdfast_crashes` where 1 = 0;

select 1 as one from `holdfast_quarantine` where 1 = 0;

insert into `holdfast_quarantine` select * from `holdfast_quarantine` where 1 = 0;

update `holdfast_quarantine` set `queue` = '' where 1 = 0;

delete from `holdfast_quarantine` where 1 = 0;

select 1 as one from `holdfast_recoveries` where 1 = 0;

insert into `holdfast_recoveries` select * from `holdfast_recoveries` where 1 = 0;

update `holdfast_recoveries` set `queue` = '' where 1 = 0;

delete from `holdfast_recoveries` where 1 = 0;
