import type { DecidedJob, JobOutcome, RecoveryContext } from '@holdfast/core'
import { notify } from '../notify.js'
import type { Run } from '../run.js'
import type { GraphileTables } from '../tables.js'
import { type ExhaustedPolicies, type ExhaustedPolicy, policyOf } from '../task-options.js'
import { addJob } from './add.js'
import { type GraphileJob, isHeld } from './expand.js'
import { type JobRow, lockJobs } from './held-jobs.js'
import { type Plan, planFor } from './plan.js'
import { removeJobs, unlockJobs, unlockQueues } from './unlock.js'

export interface RecoverParts {
  readonly tables: GraphileTables
  /** For rows of older versions, which don't say. */
  readonly exhausted: ExhaustedPolicies
}

/** Carries out the decisions, all in one transaction. */
export async function recoverJobs(
  run: Run,
  { tables, exhausted }: RecoverParts,
  decided: readonly DecidedJob[],
  { rename }: RecoveryContext,
): Promise<JobOutcome[]> {
  const jobs = decided as readonly (DecidedJob & GraphileJob)[]
  const rows = await lockJobs(run, tables, { lockIds: [], jobIds: jobs.map(({ jobRef }) => jobRef) })
  const rowOf = new Map(rows.map((row) => [row.id, row]))
  const plans = jobs.map((job) => {
    const row = rowOf.get(job.jobRef)
    const identifier = row?.identifier ?? job.detail.handOff?.job.identifier ?? ''
    const { onExhausted = exhausted } = job.detail
    const policy: ExhaustedPolicy =
      typeof onExhausted === 'string' ? onExhausted : policyOf(onExhausted, identifier)
    return planFor(job, row, policy)
  })
  const unlocks = plans.flatMap((plan) => (plan.kind === 'unlock' ? [plan] : []))
  await unlockJobs(run, tables, unlocks)
  const finished = plans.flatMap((plan) => (plan.kind === 'remove' ? [plan.row.id] : []))
  await removeJobs(run, tables, finished)
  const outcomes: JobOutcome[] = []
  for (const index of newestFirst(plans)) {
    const plan = plans[index]!
    if (plan.kind === 'nothing' || plan.kind === 'remove') outcomes[index] = plan.outcome
    else if (plan.kind === 'unlock') outcomes[index] = plan.next.outcome(plan.row.id)
    else outcomes[index] = await addJob(run, tables, plan, (id) => rename(jobs[index]!.orphan, id))
  }
  await releaseQueues(run, tables, jobs, rowOf)
  // A superseding job too: a worker may have passed it over while this transaction had it locked.
  await notify(run, outcomes.filter(({ kind }) => kind === 'requeued' || kind === 'superseded').length)
  return outcomes
}

/** The order to carry plans out in: of handed-off jobs with one key the newest takes it, and the others find it taken. */
function newestFirst(plans: readonly Plan[]): number[] {
  const age = (plan: Plan): string => (plan.kind === 'add' ? plan.job.createdAt : '')
  return [...plans.keys()].sort((a, b) => age(plans[b]!).localeCompare(age(plans[a]!)))
}

/** A named queue is free as soon as no job of the dead holds it; the job's own order within it is kept. */
async function releaseQueues(
  run: Run,
  tables: GraphileTables,
  jobs: readonly GraphileJob[],
  rowOf: ReadonlyMap<string, JobRow>,
): Promise<void> {
  const byLock = new Map<string, Set<number>>()
  for (const { jobRef, detail } of jobs) {
    const row = rowOf.get(jobRef)
    if (row?.lockedBy == null || row.queueId === null || !isHeld(detail, row)) continue
    byLock.set(row.lockedBy, (byLock.get(row.lockedBy) ?? new Set()).add(row.queueId))
  }
  for (const [lockId, queueIds] of byLock) await unlockQueues(run, tables, [lockId], [...queueIds])
}
