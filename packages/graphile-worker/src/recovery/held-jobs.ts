import { setTimeout as delay } from 'node:timers/promises'
import { type RawBuilder, sql } from 'kysely'
import { lockedAtOf } from '../fetched-job.js'
import { superseded } from '../job-sql.js'
import type { Run } from '../run.js'
import type { GraphileTables } from '../tables.js'

/** A job's row in graphile-worker. */
export interface JobRow {
  readonly id: string
  readonly identifier: string
  readonly queueId: number | null
  readonly attempts: number
  readonly maxAttempts: number
  readonly lockedBy: string | null
  /** Milliseconds since 1970. */
  readonly lockedAt: number | null
  readonly lastError: string | null
  /** Removed, or replaced by a newer job with its key, while it ran. */
  readonly superseded: boolean
}

/** What these locks hold, as it is just now; in id order. */
export async function heldJobs(
  run: Run,
  tables: GraphileTables,
  lockIds: readonly string[],
): Promise<JobRow[]> {
  if (lockIds.length === 0) return []
  return run(sql<JobRow>`${rowsOf(tables)} where jobs.locked_by = any(${lockIds}::text[]) order by jobs.id`)
}

/** Milliseconds between looks for jobs that a transaction has locked, and how many: one that is just ending is soon over. */
const LOOK = 20
const LOOKS = 10

export interface LockedRows {
  /** In no order. */
  readonly rows: readonly JobRow[]
  /** Ids of those that are there, but locked by a transaction that goes on. */
  readonly busy: ReadonlySet<string>
}

/**
 * Locks and reads these jobs. Waits a moment for a transaction that is just ending one of them, and then doesn't see it; never
 * for one that goes on, as where a handler completes its task in it: that may stay open for ever, and would keep the others.
 */
export async function lockJobs(
  run: Run,
  tables: GraphileTables,
  ids: readonly string[],
): Promise<LockedRows> {
  const rows: JobRow[] = []
  let left = ids
  for (let look = 1; left.length > 0; look++) {
    const locked = await run(sql<JobRow>`
      ${rowsOf(tables)} where jobs.id = any(${left}::bigint[]) order by jobs.id for update of jobs skip locked`)
    rows.push(...locked)
    const known = new Set(locked.map(({ id }) => id))
    left = await existing(
      run,
      tables,
      left.filter((id) => !known.has(id)),
    )
    if (look === LOOKS) break
    if (left.length > 0) await delay(LOOK)
  }
  return { rows, busy: new Set(left) }
}

async function existing(run: Run, { jobs }: GraphileTables, ids: readonly string[]): Promise<string[]> {
  if (ids.length === 0) return []
  const rows = await run(
    sql<{ id: string }>`select id::text as id from ${jobs} where id = any(${ids}::bigint[])`,
  )
  return rows.map(({ id }) => id)
}

const rowsOf = ({ jobs, tasks }: GraphileTables): RawBuilder<unknown> => sql`
  select jobs.id::text as id, tasks.identifier, jobs.job_queue_id as "queueId", jobs.attempts::int as attempts,
    jobs.max_attempts::int as "maxAttempts", jobs.locked_by as "lockedBy", ${lockedAtOf('jobs.locked_at')}::float8 as "lockedAt", jobs.last_error as "lastError",
    ${superseded} as superseded
  from ${jobs} as jobs join ${tasks} as tasks on tasks.id = jobs.task_id`
