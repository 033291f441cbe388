import type { JobHelpers } from 'graphile-worker'
import type { JobSnapshot } from './payloads.js'

interface StoredJob {
  readonly payload: string
  readonly queue_name: string | null
  readonly run_at: string
}

/** The names of graphile-worker's private tables, escaped as it escapes them. */
function tablesOf(schema: string): { jobs: string; queues: string } {
  const quoted = `"${schema.replaceAll('"', '""')}"`
  return { jobs: `${quoted}._private_jobs`, queues: `${quoted}._private_job_queues` }
}

/**
 * What it takes to add the running job anew. Read from its row, since `helpers.job` has no queue name and a payload
 * that was parsed already. Undefined when the job is no longer locked by this worker.
 */
export async function snapshotJob(
  { job, query }: JobHelpers,
  schema: string,
): Promise<JobSnapshot | undefined> {
  const { jobs, queues } = tablesOf(schema)
  const { rows } = await query<StoredJob & Record<string, unknown>>(
    `select jobs.payload::text as payload, queues.queue_name,
       to_char(jobs.run_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as run_at
     from ${jobs} as jobs left join ${queues} as queues on queues.id = jobs.job_queue_id
     where jobs.id = $1 and jobs.locked_by = $2`,
    [job.id, job.locked_by],
  )
  const stored = rows[0]
  if (stored === undefined) return undefined
  return {
    id: job.id,
    identifier: job.task_identifier,
    payload: stored.payload,
    queueName: stored.queue_name,
    priority: job.priority,
    attempts: job.attempts,
    maxAttempts: job.max_attempts,
    key: job.key,
    flags: job.flags === null ? null : Object.keys(job.flags),
    runAt: stored.run_at,
  }
}

/**
 * Ends a job in graphile-worker as its own completion does, but fenced: only while this worker's lock is on it, and
 * with its queue. False when it no longer is. graphile-worker's own completion, by id alone, then finds nothing.
 */
export async function removeJob({ job, query }: JobHelpers, schema: string): Promise<boolean> {
  const { jobs, queues } = tablesOf(schema)
  const { rows } = await query(
    `with removed as (
       delete from ${jobs} where id = $1 and locked_by = $2 returning job_queue_id
     ), freed as (
       update ${queues} as queues set locked_by = null, locked_at = null
       from removed where queues.id = removed.job_queue_id and queues.locked_by = $2
     )
     select 1 from removed`,
    [job.id, job.locked_by],
  )
  return rows.length === 1
}

/**
 * Unlocks a job that this worker fetched and never began, and refunds its attempt, unless the job was removed or
 * superseded meanwhile. Fenced by the lock, so the throw that must follow changes nothing more in graphile-worker; unless
 * this very pool had fetched the job again by then, which half a second keeps it from.
 */
export async function giveBackJob({ job, query }: JobHelpers, schema: string): Promise<void> {
  const { jobs, queues } = tablesOf(schema)
  await query(
    `with unlocked as (
       update ${jobs}
       set locked_by = null, locked_at = null,
         attempts = case when ${SUPERSEDED} then attempts else attempts - 1 end,
         run_at = greatest(run_at, now() + interval '500 milliseconds')
       where id = $1 and locked_by = $2 returning job_queue_id
     ), freed as (
       update ${queues} as queues set locked_by = null, locked_at = null
       from unlocked where queues.id = unlocked.job_queue_id and queues.locked_by = $2
     )
     select pg_notify('jobs:insert', json_build_object('r', random(), 'count', 1)::text) from unlocked`,
    [job.id, job.locked_by],
  )
}

/**
 * Whether a locked job was removed, or replaced by a newer one with its key, while it ran: graphile-worker then takes
 * its key and its attempts. Fetching a job doesn't touch `updated_at`.
 */
export const SUPERSEDED = '(key is null and attempts >= max_attempts and updated_at > locked_at)'
