import type { DecidedJob, JobOutcome, RecoveryContext } from '@holdfast/core'
import type { GraphileTables } from '../tables.js'
import { addJob } from './add.js'
import type { GraphileJob } from './expand.js'
import { planFor } from './plan.js'
import { notify, removeJobs, unlockJobs, unlockQueues } from './unlock.js'

/** Carries out the decisions, all in the monitor's transaction. */
export async function recoverJobs(
  tables: GraphileTables,
  decided: readonly DecidedJob[],
  context: RecoveryContext,
): Promise<JobOutcome[]> {
  const jobs = decided as readonly (DecidedJob & GraphileJob)[]
  const plans = jobs.map((job) => planFor(job))
  const unlocks = plans.flatMap((plan) => (plan.kind === 'unlock' ? [plan] : []))
  await unlockJobs(context, tables, unlocks)
  const finished = plans.flatMap((plan) => (plan.kind === 'remove' ? [plan.row.id] : []))
  await removeJobs(context, tables, finished)
  const outcomes: JobOutcome[] = []
  for (const plan of plans) {
    if (plan.kind === 'nothing' || plan.kind === 'remove') outcomes.push(plan.outcome)
    else if (plan.kind === 'unlock') outcomes.push(plan.next.outcome(plan.row.id))
    else outcomes.push(await addJob(context, tables, plan))
  }
  await releaseQueues(tables, jobs, context)
  // A superseding job too: a worker may have passed it over while this transaction had it locked.
  await notify(context, outcomes.filter(({ kind }) => kind === 'requeued' || kind === 'superseded').length)
  return outcomes
}

/** A named queue is free as soon as no job of the dead holds it; the job's own order within it is kept. */
async function releaseQueues(
  tables: GraphileTables,
  jobs: readonly (DecidedJob & GraphileJob)[],
  context: RecoveryContext,
): Promise<void> {
  const byLock = new Map<string, Set<number>>()
  for (const { detail } of jobs) {
    const { row } = detail
    if (row?.lockedBy == null || row.queueId === null || !detail.lockIds.includes(row.lockedBy)) continue
    byLock.set(row.lockedBy, (byLock.get(row.lockedBy) ?? new Set()).add(row.queueId))
  }
  for (const [lockId, queueIds] of byLock) await unlockQueues(context, tables, [lockId], [...queueIds])
}
