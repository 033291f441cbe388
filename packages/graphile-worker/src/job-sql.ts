import { type RawBuilder, sql } from 'kysely'
import type { JobSnapshot } from './payloads.js'
import type { Run } from './run.js'
import type { GraphileTables } from './tables.js'

/** One time that a job was fetched. */
export interface FetchedJob {
  readonly id: string
  /** Of the worker on 0.16, of its pool since 0.17. */
  readonly lockId: string
  /** Counted at every fetch, so that it tells one from the next of the same pool. */
  readonly attempts: number
}

/** Whether a row of `jobs` is a fetched job still. */
const isStill = ({ id, lockId, attempts }: FetchedJob): RawBuilder<boolean> => sql`
  jobs.id = ${id}::bigint and jobs.locked_by = ${lockId}
    and (jobs.attempts = ${attempts}::int or ${superseded})`

/**
 * Whether a locked job was removed, or replaced by a newer one with its key, while it ran: graphile-worker then takes
 * its key and its attempts. Fetching a job doesn't touch `updated_at`.
 */
export const superseded = sql<boolean>`
  (jobs.key is null and jobs.attempts >= jobs.max_attempts and jobs.updated_at > jobs.locked_at)`

/** A fetch as the database knows it. */
export interface LockedJob extends FetchedJob {
  /** Milliseconds since 1970 by the database's clock: tells it from the next, since a refunded attempt is counted again. */
  readonly lockedAt: number
}

/** What these locks hold, locked at least `ms` milliseconds ago. */
export function lockedJobs(
  run: Run,
  { jobs }: GraphileTables,
  lockIds: readonly string[],
  ms: number,
): Promise<LockedJob[]> {
  return run(sql<LockedJob>`
    select id::text as id, locked_by as "lockId", attempts::int as attempts,
      floor(extract(epoch from locked_at) * 1000)::float8 as "lockedAt"
    from ${jobs} as jobs
    where locked_by = any(${lockIds}::text[]) and locked_at < now() - ${ms}::float8 * interval '1 millisecond'
    order by jobs.id`)
}

/** By which fetch of the same worker or pool a job is locked. */
export type Fetch = 'this' | 'another'

export async function lockOf(run: Run, { jobs }: GraphileTables, job: FetchedJob): Promise<Fetch | 'none'> {
  const [lock] = await run(sql<{ fetch: Fetch }>`
    select case when ${isStill(job)} then 'this' else 'another' end as fetch
    from ${jobs} as jobs where id = ${job.id}::bigint and locked_by = ${job.lockId}`)
  return lock?.fetch ?? 'none'
}

/** Frees the named queues of what the statement before took; `held` has their ids. */
const freed = ({ queues }: GraphileTables, held: string, lockIds: readonly string[]) => sql`
  update ${queues} as queues set locked_by = null, locked_at = null
  from ${sql.ref(held)} as held where queues.id = held.job_queue_id and queues.locked_by = any(${lockIds}::text[])`

/**
 * What it takes to add a running job anew. Read from its row, since `helpers.job` has no queue name and a payload that was
 * parsed already. Undefined when the job is no longer this fetch's.
 */
export async function snapshotJob(
  run: Run,
  { jobs, queues, tasks }: GraphileTables,
  job: FetchedJob,
): Promise<JobSnapshot | undefined> {
  const utc = (column: string) =>
    sql`to_char(${sql.ref(column)} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
  const [snapshot] = await run(sql<JobSnapshot>`
    select jobs.id::text as id, tasks.identifier, jobs.payload::text as payload, queues.queue_name as "queueName",
      jobs.priority::int as priority, jobs.attempts::int as attempts, jobs.max_attempts::int as "maxAttempts", jobs.key,
      (select array_agg(flag) from jsonb_object_keys(jobs.flags) as flag) as flags, ${utc('jobs.run_at')} as "runAt",
      ${utc('jobs.created_at')} as "createdAt", jobs.last_error as "lastError",
      ${superseded} as superseded
    from ${jobs} as jobs join ${tasks} as tasks on tasks.id = jobs.task_id
    left join ${queues} as queues on queues.id = jobs.job_queue_id where ${isStill(job)}`)
  return snapshot
}

/**
 * Ends a job in graphile-worker as its own completion does, but fenced: only while it is this fetch's, and with its queue.
 * False when it no longer is. graphile-worker's own completion, by id alone, then finds nothing.
 */
export async function removeJob(run: Run, tables: GraphileTables, job: FetchedJob): Promise<boolean> {
  const rows = await run(sql`
    with removed as (
      delete from ${tables.jobs} as jobs where ${isStill(job)} returning job_queue_id
    ), freed as (${freed(tables, 'removed', [job.lockId])})
    select 1 as removed from removed`)
  return rows.length === 1
}

/** Fails a job as graphile-worker does. False when it is no longer this fetch's: then its own failure finds nothing too. */
export async function failJob(
  run: Run,
  tables: GraphileTables,
  job: FetchedJob,
  message: string,
): Promise<boolean> {
  const rows = await run(sql`
    with failed as (
      update ${tables.jobs} as jobs set ${failing(sql`${message}::text`)} where ${isStill(job)} returning job_queue_id
    ), freed as (${freed(tables, 'failed', [job.lockId])})
    select 1 as failed from failed`)
  return rows.length === 1
}

/** What graphile-worker writes of a failure. */
const failing = (message: RawBuilder<unknown>): RawBuilder<unknown> => sql`
  last_error = ${message}, locked_by = null, locked_at = null,
  run_at = greatest(now(), jobs.run_at) + exp(least(jobs.attempts, 10)) * interval '1 second'`

/**
 * Unlocks a job that was fetched and never begun, and refunds its attempt, unless it was removed or superseded meanwhile.
 * The throw that must follow changes nothing more in graphile-worker; unless this very pool had fetched the job again by
 * then, which half a second keeps it from.
 */
export async function giveBackJob(run: Run, tables: GraphileTables, job: FetchedJob): Promise<void> {
  await run(sql`
    with unlocked as (
      update ${tables.jobs} as jobs
      set locked_by = null, locked_at = null,
        attempts = case when ${superseded} then jobs.attempts else jobs.attempts - 1 end,
        run_at = greatest(jobs.run_at, now() + interval '500 milliseconds')
      where ${isStill(job)} returning job_queue_id
    ), freed as (${freed(tables, 'unlocked', [job.lockId])})
    select pg_notify('jobs:insert', json_build_object('r', random(), 'count', 1)::text) from unlocked`)
}

/** How a job ended whose end graphile-worker is to write. */
export interface EndedJob extends FetchedJob {
  /** What its handler threw; undefined when it ended well. */
  readonly failure?: string
}

/** Writes the ends of jobs that graphile-worker has not written itself. Answers the ids of those. */
export async function settleJobs(
  run: Run,
  tables: GraphileTables,
  ended: readonly EndedJob[],
): Promise<string[]> {
  const lockIds = ended.map(({ lockId }) => lockId)
  const rows = await run(sql<{ id: string }>`
    with ended as (
      select * from unnest(${ended.map(({ id }) => id)}::bigint[], ${lockIds}::text[],
        ${ended.map(({ attempts }) => attempts)}::int[], ${ended.map(({ failure }) => failure ?? null)}::text[])
        as ended (id, lock_id, attempts, failure)
    ), removed as (
      delete from ${tables.jobs} as jobs using ended
      where jobs.id = ended.id and jobs.locked_by = ended.lock_id and ended.failure is null
        and (jobs.attempts = ended.attempts or ${superseded})
      returning jobs.id, jobs.job_queue_id
    ), failed as (
      update ${tables.jobs} as jobs set ${failing(sql.ref('ended.failure'))} from ended
      where jobs.id = ended.id and jobs.locked_by = ended.lock_id and ended.failure is not null
        and (jobs.attempts = ended.attempts or ${superseded})
      returning jobs.id, jobs.job_queue_id
    ), written as (select * from removed union all select * from failed),
    freed as (${freed(tables, 'written', [...new Set(lockIds)])})
    select id::text as id from written`)
  return rows.map(({ id }) => id)
}

/**
 * Says that these jobs run still, so that graphile-worker's rule of four hours doesn't give them to another, nor anyone
 * takes their locks for unknown ones. Not of superseded jobs: what tells those is that they changed after they were locked.
 */
export async function keepLocks(
  run: Run,
  { jobs, queues }: GraphileTables,
  running: readonly FetchedJob[],
): Promise<void> {
  const lockIds = running.map(({ lockId }) => lockId)
  await run(sql`
    with running as (
      select * from unnest(${running.map(({ id }) => id)}::bigint[], ${lockIds}::text[]) as running (id, lock_id)
    ), kept as (
      update ${jobs} as jobs set locked_at = now() from running
      where jobs.id = running.id and jobs.locked_by = running.lock_id and not ${superseded}
      returning jobs.job_queue_id, jobs.locked_by
    )
    update ${queues} as queues set locked_at = now() from kept
    where queues.id = kept.job_queue_id and queues.locked_by = kept.locked_by`)
}
