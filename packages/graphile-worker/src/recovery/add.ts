import type { JobOutcome } from '@holdfast/core'
import { sql } from 'kysely'
import type { JobSnapshot } from '../payloads.js'
import type { Run } from '../run.js'
import type { GraphileTables } from '../tables.js'
import type { JobRow } from './held-jobs.js'
import type { Continuation } from './plan.js'
import { removeJobs } from './unlock.js'

/** `add_job` may answer an empty row while another transaction holds the key (graphile/worker#580). */
const MAX_TRIES = 5

/**
 * Adds a handed-off job anew as it was, with its attempts.
 *
 * @param known is told the new job's id before that can run
 */
export async function addJob(
  run: Run,
  tables: GraphileTables,
  { job, remove, next }: { job: JobSnapshot; remove: JobRow | undefined; next: Continuation },
  known: (id: string) => Promise<void>,
): Promise<JobOutcome> {
  await removeJobs(run, tables, remove === undefined ? [] : [remove.id])
  let added = await insert(run, tables, job, 'unsafe_dedupe')
  if (added !== undefined && added.revision > 0) {
    if (!added.older) return { kind: 'superseded' }
    // An older one was handed off, too, and recovered before ours.
    added = await insert(run, tables, job, 'replace')
  }
  if (added === undefined) {
    return { kind: 'failed', error: new Error(`add_job answered no row for job ${job.id} (key ${job.key})`) }
  }
  await run(sql`
    update ${tables.jobs}
    set attempts = ${next.attempts}, created_at = ${job.createdAt}::timestamptz,
      last_error = ${next.lastError ?? job.lastError}::text,
      run_at = case when ${next.delayMs}::float8 is null then run_at
        else clock_timestamp() + ${next.delayMs}::float8 * interval '1 millisecond' end
    where id = ${added.id}::bigint`)
  await known(added.id)
  return next.outcome(added.id)
}

interface AddedJob {
  readonly id: string
  /** Above 0 where a job with our key was there before. */
  readonly revision: number
  /** It is older than ours. */
  readonly older: boolean
}

async function insert(
  run: Run,
  { addJob }: GraphileTables,
  job: JobSnapshot,
  keyMode: 'unsafe_dedupe' | 'replace',
): Promise<AddedJob | undefined> {
  for (let tries = 1; tries <= MAX_TRIES; tries++) {
    const [row] = await run(sql<AddedJob | { id: null }>`
      select id::text as id, revision, created_at < ${job.createdAt}::timestamptz as older from ${addJob}(${job.identifier}, payload => ${job.payload}::json,
        queue_name => ${job.queueName}, run_at => ${job.runAt}::timestamptz, max_attempts => ${job.maxAttempts}::int,
        job_key => ${job.key}, priority => ${job.priority}::int, flags => ${job.flags}::text[],
        job_key_mode => ${keyMode})`)
    if (row != null && row.id !== null) return row
  }
  return undefined
}
