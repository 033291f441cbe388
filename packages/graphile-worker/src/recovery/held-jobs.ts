import type { RecoveryContext } from '@holdfast/core'
import { sql } from 'kysely'
import { SUPERSEDED } from '../job-sql.js'
import type { GraphileTables } from '../tables.js'

/** A job's row in graphile-worker, locked by the recovery's transaction until it ends. */
export interface JobRow {
  readonly id: string
  readonly queueId: number | null
  readonly attempts: number
  readonly maxAttempts: number
  readonly lockedBy: string | null
  /** Removed, or replaced by a newer job with its key, while it ran. */
  readonly superseded: boolean
}

/**
 * Locks and reads the jobs that these locks hold, and these jobs, in id order. Waits for a transaction that is just
 * ending one of them, and then doesn't see it.
 */
export async function lockJobs(
  { trx }: RecoveryContext,
  { jobs }: GraphileTables,
  { lockIds, jobIds }: { lockIds: readonly string[]; jobIds: readonly string[] },
): Promise<JobRow[]> {
  if (lockIds.length === 0 && jobIds.length === 0) return []
  const { rows } = await sql<JobRow>`
    select id::text as id, job_queue_id as "queueId", attempts, max_attempts as "maxAttempts", locked_by as "lockedBy", ${sql.raw(SUPERSEDED)} as superseded
    from ${jobs} where locked_by = any(${lockIds}::text[]) or id = any(${jobIds}::bigint[])
    order by id for update`.execute(trx)
  return rows
}
