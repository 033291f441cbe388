import type { AnyDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'
import type { DecidedJob, JobOutcome, QueueAdapter } from '../../src/index.js'

/** The ref that a job has in the table `jobs`. */
export const jobKey = (jobRef: string | null, taskId: string): string => jobRef ?? taskId

/**
 * An adapter of the table queue (`createTableQueue`) that looks at the queue first, as every adapter must, and bears
 * repetition. With `atomic` it writes in the monitor's transaction, else on its own.
 */
export function ledgerAdapter(db: AnyDatabase, atomic: boolean): QueueAdapter {
  return {
    name: 'table',
    capabilities: { atomicRecovery: atomic, preservesJobId: true, delay: false },
    async recover(jobs, context) {
      const outcomes: JobOutcome[] = []
      for (const job of jobs) {
        const done = atomic
          ? recover(context.trx as AnyDatabase, job)
          : db
              .transaction()
              .setIsolationLevel('read committed')
              .execute((trx) => recover(trx, job))
        outcomes.push(await done)
      }
      return outcomes
    },
  }
}

async function recover(
  db: AnyDatabase,
  { jobRef, orphan, decision, recoveryId }: DecidedJob,
): Promise<JobOutcome> {
  if (decision.kind === 'quarantine') return { kind: 'quarantined' }
  const ref = jobKey(jobRef, orphan.taskId)
  const there = await sql`select 1 as found from jobs where ref = ${ref} for update`.execute(db)
  // Asked after the wait for the lock: the same recovery may be under way elsewhere.
  const done = await sql`select 1 as found from enqueued where recovery_id = ${recoveryId}`.execute(db)
  if (done.rows.length > 0) return { kind: 'requeued', jobRef }
  if (there.rows.length > 0) return { kind: 'alreadyThere' }
  await sql`insert into jobs (ref, body) values (${ref}, ${JSON.stringify(orphan.payload)})`.execute(db)
  await sql`insert into enqueued values (${ref}, ${recoveryId}, ${process.pid})`.execute(db)
  return { kind: 'requeued', jobRef }
}
