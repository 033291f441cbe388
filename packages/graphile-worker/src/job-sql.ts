import { type RawBuilder, sql } from 'kysely'
import { type FetchedJob, isLockedSince, lockedAtOf, millis, RENEWAL } from './fetched-job.js'
import type { JobSnapshot } from './payloads.js'
import type { Run } from './run.js'
import type { GraphileTables } from './tables.js'

/**
 * Whether a locked row is of the fetch that counted so many attempts. That one may be superseded meanwhile, of which the
 * attempts tell where the time of its lock is known: `updated_at` is when the superseding transaction began, which may be
 * before the fetch.
 */
const isFetchOf = (attempts: RawBuilder<unknown>, lockedAt: RawBuilder<unknown>): RawBuilder<boolean> => sql`
  (jobs.attempts = ${attempts} or ${superseded}
    or (${lockedAt} is not null and jobs.key is null and jobs.attempts >= jobs.max_attempts))`

/** Whether a row of `jobs` is a fetched job still. */
const isStill = ({ id, lockId, attempts, lockedAt, renewals }: FetchedJob): RawBuilder<boolean> => sql`
  jobs.id = ${id}::bigint and jobs.locked_by = ${lockId}
    and ${isFetchOf(sql`${attempts}::int`, sql`${lockedAt}::bigint`)}
    and ${isLockedSince(sql`${lockedAt}::bigint`, sql`${renewals}`)}`

/** Whether a row of `jobs` is the fetched job still that this row of `listed` says. */
const isStillListed = (list: string): RawBuilder<boolean> => {
  const of = (column: string) => sql.ref(`${list}.${column}`)
  return sql`
  jobs.id = ${of('id')} and jobs.locked_by = ${of('lock_id')} and ${isFetchOf(of('attempts'), of('locked_at'))}
    and ${isLockedSince(of('locked_at'), of('renewals'))}`
}

/** Whether a job that is a fetch's still was superseded since. */
const supersededSince = ({ attempts }: FetchedJob): RawBuilder<boolean> =>
  sql`(${superseded} or jobs.attempts <> ${attempts}::int)`

/** Fetched jobs as rows: id, lock_id, attempts, locked_at, renewals. */
const listed = (jobs: readonly FetchedJob[]): RawBuilder<unknown> => sql`
  ${jobs.map(({ id }) => id)}::bigint[], ${jobs.map(({ lockId }) => lockId)}::text[],
  ${jobs.map(({ attempts }) => attempts)}::int[], ${jobs.map(({ lockedAt }) => lockedAt)}::bigint[],
  ${jobs.map(({ renewals }) => renewals)}::int[]`

/**
 * Whether a locked job was removed, or replaced by a newer one with its key, while it ran: graphile-worker then takes
 * its key and its attempts. Fetching a job doesn't touch `updated_at`.
 */
export const superseded = sql<boolean>`
  (jobs.key is null and jobs.attempts >= jobs.max_attempts and jobs.updated_at > jobs.locked_at)`

/** A fetch as the database knows it. */
export interface LockedJob extends FetchedJob {
  readonly lockedAt: number
}

const fetched = sql`
  jobs.id::text as id, jobs.locked_by as "lockId", jobs.attempts::int as attempts,
  ${lockedAtOf('jobs.locked_at')}::float8 as "lockedAt", 0 as renewals`

/** What these locks hold, locked at least `ms` milliseconds ago. */
export function lockedJobs(
  run: Run,
  { jobs }: GraphileTables,
  lockIds: readonly string[],
  ms: number,
): Promise<LockedJob[]> {
  return run(sql<LockedJob>`
    select ${fetched}
    from ${jobs} as jobs
    where locked_by = any(${lockIds}::text[]) and locked_at < now() - ${ms}::float8 * interval '1 millisecond'
    order by jobs.id`)
}

/** By which fetch of the same worker or pool a job is locked: this one, another one, none. */
export type Lock = 'this' | 'none' | LockedJob

export async function lockOf(run: Run, { jobs }: GraphileTables, job: FetchedJob): Promise<Lock> {
  const [lock] = await run(sql<LockedJob & { isThis: boolean }>`
    select ${isStill(job)} as "isThis", ${fetched}
    from ${jobs} as jobs where id = ${job.id}::bigint and locked_by = ${job.lockId}`)
  if (lock === undefined) return 'none'
  const { isThis, ...another } = lock
  return isThis ? 'this' : another
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
      ${supersededSince(job)} as superseded
    from ${jobs} as jobs join ${tasks} as tasks on tasks.id = jobs.task_id
    left join ${queues} as queues on queues.id = jobs.job_queue_id where ${isStill(job)}`)
  return snapshot
}

/**
 * Ends a job in graphile-worker as its own completion does, but fenced: only while it is this fetch's, and with its queue.
 * False when it no longer is. graphile-worker's own completion, by id alone, then finds nothing.
 */
export async function removeJob(
  run: Run,
  tables: GraphileTables,
  job: FetchedJob,
  condition: RawBuilder<boolean> = sql`true`,
): Promise<boolean> {
  const rows = await run(sql`
    with removed as (
      delete from ${tables.jobs} as jobs where ${isStill(job)} and ${condition} returning job_queue_id
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

/** Milliseconds for which no pool may have a job of which graphile-worker has its own word to say yet. */
export const PAUSE = 500

const later = (ms: number): RawBuilder<unknown> => sql`now() + ${ms}::float8 * interval '1 millisecond'`

/**
 * Unlocks a job that was fetched and never begun, and refunds its attempt, unless it was removed or superseded meanwhile.
 * The throw that must follow changes nothing more in graphile-worker; unless this very pool had fetched the job again by
 * then, which the pause keeps it from.
 */
export async function giveBackJob(
  run: Run,
  tables: GraphileTables,
  job: FetchedJob,
  pauseMs = PAUSE,
): Promise<void> {
  await run(sql`
    with unlocked as (
      update ${tables.jobs} as jobs
      set locked_by = null, locked_at = null,
        attempts = case when ${supersededSince(job)} then jobs.attempts else jobs.attempts - 1 end,
        run_at = greatest(jobs.run_at, ${later(pauseMs)})
      where ${isStill(job)} returning job_queue_id
    ), freed as (${freed(tables, 'unlocked', [job.lockId])})
    select pg_notify('jobs:insert', json_build_object('r', random(), 'count', 1)::text) from unlocked`)
}

/** Keeps a job that is free from being fetched meanwhile. False when that was not needed. */
export async function holdOff(
  run: Run,
  { jobs }: GraphileTables,
  id: string,
  pauseMs: number,
): Promise<boolean> {
  const rows = await run(sql`
    update ${jobs} as jobs set run_at = ${later(pauseMs)}
    where jobs.id = ${id}::bigint and jobs.locked_by is null and jobs.run_at < ${later(pauseMs)} returning 1`)
  return rows.length === 1
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
      select * from unnest(${listed(ended)}, ${ended.map(({ failure }) => failure ?? null)}::text[])
        as ended (id, lock_id, attempts, locked_at, renewals, failure)
    ), removed as (
      delete from ${tables.jobs} as jobs using ended
      where ended.failure is null and ${isStillListed('ended')}
      returning jobs.id, jobs.job_queue_id
    ), failed as (
      update ${tables.jobs} as jobs set ${failing(sql.ref('ended.failure'))} from ended
      where ended.failure is not null and ${isStillListed('ended')}
      returning jobs.id, jobs.job_queue_id
    ), written as (select * from removed union all select * from failed),
    freed as (${freed(tables, 'written', [...new Set(lockIds)])})
    select id::text as id from written`)
  return rows.map(({ id }) => id)
}

/**
 * Says that these jobs run still, so that graphile-worker's rule of four hours doesn't give them to another, nor anyone
 * takes their locks for unknown ones. Not of superseded jobs: what tells those is that they changed after they were locked.
 * Nor of jobs that somebody's transaction is just ending, whose end may be long in coming: the next time does. By whole
 * steps, as many as time has passed, and no more than the job says.
 */
export async function keepLocks(
  run: Run,
  { jobs, queues }: GraphileTables,
  running: readonly FetchedJob[],
): Promise<void> {
  await run(sql`
    with running as (
      select * from unnest(${listed(running)}) as running (id, lock_id, attempts, locked_at, renewals)
    ), held as (
      select jobs.id, coalesce(jobs.locked_at + interval '1 millisecond' * (running.locked_at - ${lockedAtOf('jobs.locked_at')}
          + ${sql.lit(RENEWAL)} * greatest(0, least(running.renewals,
              (${millis(sql`now()`)} - running.locked_at) / ${sql.lit(RENEWAL)}))), now()) as young
      from ${jobs} as jobs join running on ${isStillListed('running')}
        and jobs.attempts = running.attempts and not ${superseded}
      for update of jobs skip locked
    ), kept as (
      update ${jobs} as jobs set locked_at = held.young from held where jobs.id = held.id
      returning jobs.job_queue_id, jobs.locked_by, jobs.locked_at
    )
    update ${queues} as queues set locked_at = kept.locked_at from kept
    where queues.id = kept.job_queue_id and queues.locked_by = kept.locked_by`)
}
