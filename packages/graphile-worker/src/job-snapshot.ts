import type { JobHelpers } from 'graphile-worker'
import type { JobSnapshot } from './payloads.js'

interface StoredJob {
  readonly payload: string
  readonly queue_name: string | null
  readonly run_at: string
}

/** The schema's name as graphile-worker escapes it. */
const quoted = (schema: string): string => `"${schema.replaceAll('"', '""')}"`

/**
 * What it takes to add the running job anew. Read from its row, since `helpers.job` has no queue name and a payload
 * that was parsed already. Undefined when the job is no longer locked by this worker.
 */
export async function snapshotJob(
  { job, query }: JobHelpers,
  schema: string,
): Promise<JobSnapshot | undefined> {
  const { rows } = await query<StoredJob & Record<string, unknown>>(
    `select jobs.payload::text as payload, queues.queue_name,
       to_char(jobs.run_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as run_at
     from ${quoted(schema)}._private_jobs as jobs
     left join ${quoted(schema)}._private_job_queues as queues on queues.id = jobs.job_queue_id
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
 * Unlocks a job that this worker fetched and never began, and refunds its attempt. Fenced by the lock, so the throw
 * that must follow changes nothing more in graphile-worker.
 */
export async function giveBackJob({ job, query }: JobHelpers, schema: string): Promise<void> {
  await query(
    `with unlocked as (
       update ${quoted(schema)}._private_jobs
       set locked_by = null, locked_at = null, attempts = attempts - 1
       where id = $1 and locked_by = $2 returning job_queue_id
     ), freed as (
       update ${quoted(schema)}._private_job_queues as queues set locked_by = null, locked_at = null
       from unlocked where queues.id = unlocked.job_queue_id and queues.locked_by = $2
     )
     select pg_notify('jobs:insert', json_build_object('r', random(), 'count', 1)::text) from unlocked`,
    [job.id, job.locked_by],
  )
}
