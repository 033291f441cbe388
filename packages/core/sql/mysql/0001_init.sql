-- Holdfast, step 0001_init

create table if not exists `holdfast_migrations` (
  `id` varchar(191) character set utf8mb4 collate utf8mb4_bin primary key,
  `applied_at` datetime(3) not null,
  `breaking` integer not null
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

create table if not exists `holdfast_processes` (
  `process_id` varchar(191) character set utf8mb4 collate utf8mb4_bin primary key,
  `state` varchar(191) character set utf8mb4 collate utf8mb4_bin not null,
  `hostname` longtext character set utf8mb4 collate utf8mb4_bin not null,
  `pid` integer not null,
  `label` longtext character set utf8mb4 collate utf8mb4_bin,
  `version` longtext character set utf8mb4 collate utf8mb4_bin not null,
  `capacity` integer,
  `heartbeat_interval_ms` integer not null,
  `orphan_threshold_ms` integer not null,
  `beat` bigint not null,
  `epoch` bigint not null,
  `started_at` datetime(3) not null,
  `last_seen_at` datetime(3) not null,
  `lease_expires_at` datetime(3) not null
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

create table if not exists `holdfast_tasks` (
  `process_id` varchar(191) character set utf8mb4 collate utf8mb4_bin not null,
  `nonce` bigint not null,
  `id` varchar(191) character set utf8mb4 collate utf8mb4_bin not null,
  `queue` varchar(191) character set utf8mb4 collate utf8mb4_bin not null,
  `job_ref` varchar(191) character set utf8mb4 collate utf8mb4_bin,
  `job_attempt` bigint default 0 not null,
  `payload` longtext character set utf8mb4 collate utf8mb4_bin not null,
  `on_crash` varchar(191) character set utf8mb4 collate utf8mb4_bin,
  `ending` integer,
  `ended` integer,
  `created_at` datetime(3) not null,
  `progress_at` datetime(3),
  `claimed_by` varchar(191) character set utf8mb4 collate utf8mb4_bin,
  `claim_token` varchar(191) character set utf8mb4 collate utf8mb4_bin,
  `claim_expires_at` datetime(3),
  `attempts` integer not null,
  `retry_at` datetime(3),
  `last_error` longtext character set utf8mb4 collate utf8mb4_bin,
  `crashes` integer,
  constraint `holdfast_tasks_pk` primary key (`process_id`, `nonce`),
  constraint `holdfast_tasks_job` unique (`queue`, `job_ref`)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

create table if not exists `holdfast_locks` (
  `name` varchar(191) character set utf8mb4 collate utf8mb4_bin primary key,
  `holder` varchar(191) character set utf8mb4 collate utf8mb4_bin,
  `term` bigint not null,
  `acquired_at` datetime(3),
  `expires_at` datetime(3),
  `last_run_at` datetime(3)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

create table if not exists `holdfast_crashes` (
  `queue` varchar(191) character set utf8mb4 collate utf8mb4_bin not null,
  `job_ref` varchar(191) character set utf8mb4 collate utf8mb4_bin not null,
  `count` integer not null,
  `last_crash_at` datetime(3) not null,
  constraint `holdfast_crashes_pk` primary key (`queue`, `job_ref`)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

create table if not exists `holdfast_quarantine` (
  `id` varchar(191) character set utf8mb4 collate utf8mb4_bin primary key,
  `task_id` longtext character set utf8mb4 collate utf8mb4_bin not null,
  `process_id` varchar(191) character set utf8mb4 collate utf8mb4_bin not null,
  `queue` varchar(191) character set utf8mb4 collate utf8mb4_bin not null,
  `job_ref` varchar(191) character set utf8mb4 collate utf8mb4_bin,
  `payload` longtext character set utf8mb4 collate utf8mb4_bin not null,
  `reason` longtext character set utf8mb4 collate utf8mb4_bin not null,
  `last_error` longtext character set utf8mb4 collate utf8mb4_bin not null,
  `crashes` integer not null,
  `quarantined_at` datetime(3) not null
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

create table if not exists `holdfast_recoveries` (
  `id` varchar(191) character set utf8mb4 collate utf8mb4_bin primary key,
  `task_id` longtext character set utf8mb4 collate utf8mb4_bin not null,
  `queue` varchar(191) character set utf8mb4 collate utf8mb4_bin not null,
  `job_ref` varchar(191) character set utf8mb4 collate utf8mb4_bin,
  `new_job_ref` varchar(191) character set utf8mb4 collate utf8mb4_bin,
  `from_process` varchar(191) character set utf8mb4 collate utf8mb4_bin not null,
  `by_process` varchar(191) character set utf8mb4 collate utf8mb4_bin not null,
  `cause` varchar(191) character set utf8mb4 collate utf8mb4_bin not null,
  `crashes` integer not null,
  `outcome` varchar(191) character set utf8mb4 collate utf8mb4_bin not null,
  `recovered_at` datetime(3) not null,
  `orphaned_for_ms` bigint
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin;

insert into `holdfast_migrations` (id, applied_at, breaking) values ('0001_init', utc_timestamp(3), 0) on duplicate key update `id` = `id`;
