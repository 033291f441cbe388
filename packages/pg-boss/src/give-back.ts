import { type ActiveJob, lockJobs } from './job-sql.js'
import { patiently } from './patiently.js'
import type { ProtectedBoss, Running } from './protected-boss.js'
import { putBack } from './recovery/put-back.js'
import { inTransaction } from './run.js'

/** Milliseconds to try for; after that the jobs are pg-boss's own expiry's. */
const PATIENCE = 30_000

/** Until they may run again, in ms: by then pg-boss has said its word about their delivery, and found nothing. */
const PAUSE = 1_000

/** Puts jobs back that have not begun, with the attempt that they have not used. */
export async function giveBack(
  { parts: { db, tables } }: ProtectedBoss,
  { schema }: Running,
  jobs: readonly ActiveJob[],
): Promise<void> {
  if (jobs.length === 0) return
  const work = (): Promise<void> =>
    inTransaction(db, async (run) => {
      const rows = await lockJobs(run, tables, jobs, { wait: true })
      const held = rows.filter(({ state, sameAttempt }) => state === 'active' && sameAttempt)
      const items = held.map(({ name, id, job }) => {
        const retryLimit: number = JSON.parse(job).retry_limit + 1
        const outcome = { kind: 'requeued', jobRef: null } as const
        const row = { job, anew: false, delayMs: PAUSE, retryLimit, keptRetryLimit: retryLimit, outcome }
        return { name, id, plan: { kind: 'putBack', ...row } as const }
      })
      await putBack(run, { tables, schema }, items)
    })
  await patiently(work, PATIENCE)
}
