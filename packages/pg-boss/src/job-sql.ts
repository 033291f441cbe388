import { sql } from 'kysely'
import type { Attempt } from './payloads.js'
import type { Run } from './run.js'
import type { BossTables } from './tables.js'

/** pg-boss's states, in the order of its enum. */
export type JobState = 'created' | 'retry' | 'active' | 'completed' | 'cancelled' | 'failed'

/** An active job as a worker finds it. */
export interface ActiveJob extends Attempt {
  /** The JSON text of the whole row, whatever columns this version of pg-boss has. */
  readonly job: string
}

export function activeJobs(
  run: Run,
  { job }: BossTables,
  name: string,
  ids: readonly string[],
): Promise<ActiveJob[]> {
  return run(sql<ActiveJob>`
    select job.name, job.id::text as id, job.retry_count as "retryCount", to_jsonb(job.started_on) #>> '{}' as "startedOn",
      to_jsonb(job)::text as job
    from ${job} as job where job.name = ${name} and job.id = any(${ids}::uuid[]) and job.state = 'active'`)
}

/** A job, locked by the transaction that asked. */
export interface LockedJob {
  readonly name: string
  readonly id: string
  readonly state: JobState
  /** Nobody has fetched it since. */
  readonly sameAttempt: boolean
  /** The JSON text of its row. */
  readonly job: string
}

/** The rows that `attempts` are of, as a table `attempt`. */
const attemptsTable = (attempts: readonly Attempt[]) => sql`
  unnest(${attempts.map(({ name }) => name)}::text[], ${attempts.map(({ id }) => id)}::uuid[],
    ${attempts.map(({ retryCount }) => retryCount)}::int[], ${attempts.map(({ startedOn }) => startedOn)}::timestamptz[])
  as attempt (name, id, retry_count, started_on)`

/**
 * Locks the jobs of these attempts, in order.
 *
 * @param wait false: jobs that another transaction has locked are left out
 */
export function lockJobs(
  run: Run,
  { job }: BossTables,
  attempts: readonly Attempt[],
  { wait }: { readonly wait: boolean },
): Promise<LockedJob[]> {
  return run(sql<LockedJob>`
    select job.name, job.id::text as id, job.state::text as state, to_jsonb(job)::text as job,
      (job.retry_count = attempt.retry_count and job.started_on = attempt.started_on) is true as "sameAttempt"
    from ${attemptsTable(attempts)} join ${job} as job on job.name = attempt.name and job.id = attempt.id
    order by job.name, job.id for update of job ${wait ? sql`` : sql`skip locked`}`)
}

/** Which of these jobs are there, locked or not. */
export function existingJobs(
  run: Run,
  { job }: BossTables,
  attempts: readonly Attempt[],
): Promise<{ name: string; id: string }[]> {
  return run(sql<{ name: string; id: string }>`
    select job.name, job.id::text as id
    from ${attemptsTable(attempts)} join ${job} as job on job.name = attempt.name and job.id = attempt.id`)
}

/** Ids of those of these jobs of a queue that are there, in whatever state. */
export function presentJobs(
  run: Run,
  { job }: BossTables,
  name: string,
  ids: readonly string[],
): Promise<{ id: string }[]> {
  return run(sql<{ id: string }>`
    select job.id::text as id from ${job} as job where job.name = ${name} and job.id = any(${ids}::uuid[])`)
}

/** Which of these queues are there. They stay until the end of the transaction. */
export async function lockQueues(
  run: Run,
  { queue }: BossTables,
  names: readonly string[],
): Promise<ReadonlySet<string>> {
  const rows = await run(sql<{ name: string }>`
    select name from ${queue} where name = any(${[...new Set(names)].sort()}::text[]) order by name for key share`)
  return new Set(rows.map(({ name }) => name))
}

/** The columns of pg-boss's jobs. */
export async function jobColumns(run: Run, { jobName }: BossTables): Promise<ReadonlySet<string>> {
  const rows = await run(sql<{ name: string }>`
    select attname as name from pg_attribute
    where attrelid = to_regclass(${jobName}) and attnum > 0 and not attisdropped and attgenerated = ''`)
  return new Set(rows.map(({ name }) => name))
}

/** Takes jobs out of the table, and out of the archive that 10 has. */
export async function removeJobs(
  run: Run,
  { job, archive }: BossTables,
  jobs: readonly Pick<Attempt, 'name' | 'id'>[],
  { archived }: { readonly archived: boolean },
): Promise<void> {
  const names = jobs.map(({ name }) => name)
  const ids = jobs.map(({ id }) => id)
  for (const table of archived ? [job, archive] : [job]) {
    await run(sql`
      delete from ${table} as job using unnest(${names}::text[], ${ids}::uuid[]) as gone (name, id)
      where job.name = gone.name and job.id = gone.id`)
  }
}

/** How a job is put back. */
export interface NewRow {
  /** The JSON text of its row as it was. */
  readonly job: string
  /** The JSON text of what is another now. */
  readonly changes: string
  /** Milliseconds until it may run. */
  readonly delayMs: number
}

/** Milliseconds that a job which is put back is kept at least: its own time may be over. */
const KEPT = 24 * 3_600_000

/**
 * Adds jobs as they were, except for `changes`. Those are left out that the policy of their queue forbids, as another has
 * their place. Answers the keys of those that were added.
 *
 * @param columns that all these rows have
 */
export function insertJobs(
  run: Run,
  { job }: BossTables,
  columns: readonly string[],
  state: JobState,
  rows: readonly NewRow[],
): Promise<{ name: string; id: string }[]> {
  const later = (ms: unknown) => sql`clock_timestamp() + ${ms} * interval '1 millisecond'`
  const start = later(sql`todo.delay_ms`)
  return run(sql<{ name: string; id: string }>`
    insert into ${job} (${sql.join(columns.map((column) => sql.id(column)))})
    select ${sql.join(columns.map((column) => sql.id('row', column)))}
    from unnest(${rows.map(({ job }) => job)}::text[], ${rows.map(({ changes }) => changes)}::text[],
        ${rows.map(({ delayMs }) => delayMs)}::float8[]) with ordinality as todo (job, changes, delay_ms, n)
      cross join lateral jsonb_populate_record(null::${job}, todo.job::jsonb || jsonb_build_object(
        'state', ${state}::text, 'start_after', ${start}, 'heartbeat_on', null,
        'completed_on', case when ${state}::text = 'failed' then clock_timestamp() end,
        'keep_until', greatest((todo.job::jsonb ->> 'keep_until')::timestamptz,
          ${later(sql`(todo.delay_ms + ${KEPT}::float8)`)})
      ) || todo.changes::jsonb) as row
    order by todo.n
    on conflict do nothing returning name, id::text as id`)
}

/** Sets how often jobs may be tried again. */
export async function setRetryLimits(
  run: Run,
  { job }: BossTables,
  limits: readonly { readonly name: string; readonly id: string; readonly retryLimit: number }[],
): Promise<void> {
  if (limits.length === 0) return
  await run(sql`
    update ${job} as job set retry_limit = todo.retry_limit
    from unnest(${limits.map(({ name }) => name)}::text[], ${limits.map(({ id }) => id)}::uuid[],
      ${limits.map(({ retryLimit }) => retryLimit)}::int[]) as todo (name, id, retry_limit)
    where job.name = todo.name and job.id = todo.id`)
}

/**
 * Keeps waiting jobs from being fetched for a second. Answers how many of these jobs are active, or may be any moment.
 */
export async function holdOff(
  run: Run,
  { job }: BossTables,
  name: string,
  ids: readonly string[],
): Promise<number> {
  const these = sql`job.name = ${name} and job.id = any(${ids}::uuid[])`
  await run(sql`
    update ${job} as job set start_after = greatest(job.start_after, clock_timestamp() + interval '1 second')
    where ${these} and job.state < 'active'`)
  const [row] = await run(sql<{ count: number }>`
    select count(*)::int as count from ${job} as job
    where ${these} and (job.state = 'active'
      or (job.state < 'active' and job.start_after < clock_timestamp() + interval '500 milliseconds'))`)
  return row!.count
}

/** Wakes the workers of those of these queues that pg-boss 12 has notified: they poll but twice a minute. */
export async function wakeWorkers(
  run: Run,
  { queue, schema }: BossTables,
  names: readonly string[],
): Promise<void> {
  if (names.length === 0) return
  await run(sql`
    select pg_notify('pgboss_' || left(encode(sha224(convert_to(${schema}, 'UTF8')), 'hex'), 24), name)
    from ${queue} where notify and name = any(${[...new Set(names)]}::text[])`)
}
