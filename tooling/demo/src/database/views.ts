import type { AnyDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'

/** What graphile-worker has locked, by worker. */
const locked = sql`
  select pools.worker, (jobs.payload->>'job')::int as job
  from graphile_worker._private_jobs as jobs join demo_pools as pools on pools.pool_id = jobs.locked_by`

/**
 * Three views, so that everything that reads them is the same with and without Holdfast: `demo_processes`, `demo_held`
 * (which worker holds which job) and `demo_recoveries` (Holdfast's history, with the job's number).
 */
export async function createViews(db: AnyDatabase, holdfast: boolean): Promise<void> {
  const statements = holdfast ? [processes, held, recoveries] : [noProcesses, heldLocks, noRecoveries]
  for (const statement of statements) await statement.execute(db)
}

const processes = sql`
  create view demo_processes as
  select label as worker, process_id, state,
    extract(epoch from lease_expires_at - clock_timestamp())::float8 * 1000 as lease_ms
  from holdfast_processes`

// A job that is being handed off is in both places for a moment, hence no `union all`.
const held = sql`
  create view demo_held as
  ${locked}
  union
  select processes.label, ((tasks.payload::json->'job'->>'payload')::json->>'job')::int
  from holdfast_tasks as tasks join holdfast_processes as processes using (process_id)
  where tasks.payload::json->>'kind' = 'handOff' and tasks.ended is null`

// A recovered job may have a new id, under which it may be recovered again.
const recoveries = sql`
  create view demo_recoveries as
  with recursive known (job, ref) as (
    select job, ref from demo_jobs
    union
    select known.job, next.new_job_ref
    from known join holdfast_recoveries as next on next.job_ref = known.ref and next.new_job_ref is not null
  )
  select known.job, history.from_process, history.by_process, history.outcome, history.recovered_at
  from holdfast_recoveries as history left join known on known.ref = history.job_ref
  where history.outcome <> 'completed'`

const noProcesses = sql`
  create view demo_processes as
  select null::text as worker, null::text as process_id, null::text as state, null::float8 as lease_ms
  where false`

const heldLocks = sql`create view demo_held as ${locked}`

const noRecoveries = sql`
  create view demo_recoveries as
  select null::int as job, null::text as from_process, null::text as by_process, null::text as outcome,
    null::timestamptz as recovered_at
  where false`
