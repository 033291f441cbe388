-- Holdfast, step 0001_init

create table if not exists "holdfast_migrations" (
  "id" text collate "C" primary key,
  "applied_at" timestamptz(3) not null,
  "breaking" integer not null
);

create table if not exists "holdfast_processes" (
  "process_id" text collate "C" primary key,
  "state" text collate "C" not null,
  "hostname" text not null,
  "pid" integer not null,
  "label" text,
  "version" text not null,
  "capacity" integer,
  "heartbeat_interval_ms" integer not null,
  "orphan_threshold_ms" integer not null,
  "beat" bigint not null,
  "epoch" bigint not null,
  "started_at" timestamptz(3) not null,
  "last_seen_at" timestamptz(3) not null,
  "lease_expires_at" timestamptz(3) not null
);

create table if not exists "holdfast_tasks" (
  "process_id" text collate "C" not null,
  "nonce" bigint not null,
  "id" text collate "C" not null,
  "queue" text collate "C" not null,
  "job_ref" text collate "C",
  "job_attempt" bigint default 0 not null,
  "payload" text not null,
  "on_crash" text collate "C",
  "ending" integer,
  "ended" integer,
  "created_at" timestamptz(3) not null,
  "progress_at" timestamptz(3),
  "claimed_by" text collate "C",
  "claim_token" text collate "C",
  "claim_expires_at" timestamptz(3),
  "attempts" integer not null,
  "retry_at" timestamptz(3),
  "last_error" text,
  "crashes" integer,
  constraint "holdfast_tasks_pk" primary key ("process_id", "nonce"),
  constraint "holdfast_tasks_job" unique ("queue", "job_ref")
);

create table if not exists "holdfast_locks" (
  "name" text collate "C" primary key,
  "holder" text collate "C",
  "term" bigint not null,
  "acquired_at" timestamptz(3),
  "expires_at" timestamptz(3),
  "last_run_at" timestamptz(3)
);

create table if not exists "holdfast_crashes" (
  "queue" text collate "C" not null,
  "job_ref" text collate "C" not null,
  "count" integer not null,
  "last_crash_at" timestamptz(3) not null,
  constraint "holdfast_crashes_pk" primary key ("queue", "job_ref")
);

create table if not exists "holdfast_quarantine" (
  "id" text collate "C" primary key,
  "task_id" text not null,
  "process_id" text collate "C" not null,
  "queue" text collate "C" not null,
  "job_ref" text collate "C",
  "payload" text not null,
  "reason" text not null,
  "last_error" text not null,
  "crashes" integer not null,
  "quarantined_at" timestamptz(3) not null
);

create table if not exists "holdfast_recoveries" (
  "id" text collate "C" primary key,
  "task_id" text not null,
  "queue" text collate "C" not null,
  "job_ref" text collate "C",
  "new_job_ref" text collate "C",
  "from_process" text collate "C" not null,
  "by_process" text collate "C" not null,
  "cause" text collate "C" not null,
  "crashes" integer not null,
  "outcome" text collate "C" not null,
  "recovered_at" timestamptz(3) not null,
  "orphaned_for_ms" bigint
);

insert into "holdfast_migrations" (id, applied_at, breaking) values ('0001_init', clock_timestamp(), 0) on conflict ("id") do nothing;
