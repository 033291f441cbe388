import type { AnyDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'

/**
 * The demo's own tables. Every number it shows is derived from them, Holdfast's and graphile-worker's, never from what
 * a process believes of itself.
 */
export async function createTables(db: AnyDatabase): Promise<void> {
  // A job keeps its number for good; its id in graphile-worker changes when a handed-off job is recovered.
  await sql`
    create table demo_jobs (
      job int primary key,
      kind text not null check (kind in ('guard', 'handOff')),
      ref text collate "C" not null unique,
      enqueued_at timestamptz not null default clock_timestamp()
    )`.execute(db)
  // A worker process may have several pools, one after the other: a new one after an eviction.
  await sql`create table demo_pools (pool_id text primary key, worker text not null, pid int not null)`.execute(
    db,
  )
  await sql`
    create table ledger (
      entry bigserial primary key,
      at timestamptz not null default clock_timestamp(),
      what text not null check (what in ('start', 'finish', 'fail')),
      job int not null,
      worker text not null,
      process_id text,
      attempt int not null
    )`.execute(db)
}
