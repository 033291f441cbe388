import { sql } from 'kysely'
import { lockedAtOf } from '../fetched-job.js'
import { superseded } from '../job-sql.js'
import type { Run } from '../run.js'
import type { GraphileTables } from '../tables.js'

/** A job's row in graphile-worker, locked by the recovery's transaction until it ends. */
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

/**
 * Locks and reads the jobs that these locks hold, and these jobs, in id order. Waits for a transaction that is just
 * ending one of them, and then doesn't see it.
 */
export async function lockJobs(
  run: Run,
  { jobs, tasks }: GraphileTables,
  { lockIds, jobIds }: { lockIds: readonly string[]; jobIds: readonly string[] },
): Promise<JobRow[]> {
  if (lockIds.length === 0 && jobIds.length === 0) return []
  return run(sql<JobRow>`
    select jobs.id::text as id, tasks.identifier, jobs.job_queue_id as "queueId", jobs.attempts::int as attempts,
      jobs.max_attempts::int as "maxAttempts", jobs.locked_by as "lockedBy", ${lockedAtOf('jobs.locked_at')}::float8 as "lockedAt", jobs.last_error as "lastError",
      ${superseded} as superseded
    from ${jobs} as jobs join ${tasks} as tasks on tasks.id = jobs.task_id
    where jobs.locked_by = any(${lockIds}::text[]) or jobs.id = any(${jobIds}::bigint[])
    order by jobs.id for update of jobs`)
}
