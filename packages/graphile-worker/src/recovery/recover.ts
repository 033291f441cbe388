import type { DecidedJob, JobOutcome, RecoveryContext } from '@holdfast/core'
import { notify } from '../notify.js'
import type { Run } from '../run.js'
import type { GraphileTables } from '../tables.js'
import { type ExhaustedPolicies, type ExhaustedPolicy, policyOf } from '../task-options.js'
import { addJob } from './add.js'
import { type GraphileJob, isHeld } from './expand.js'
import { lockJobs } from './held-jobs.js'
import { type Plan, planFor } from './plan.js'
import { freeQueues, heldBy, removeJobs, unlockJobs } from './unlock.js'

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
  const { rows, busy } = await lockJobs(
    run,
    tables,
    jobs.map(({ jobRef }) => jobRef),
  )
  const rowOf = new Map(rows.map((row) => [row.id, row]))
  const plans = jobs.map((job): Plan => {
    if (busy.has(job.jobRef))
      return { kind: 'nothing', outcome: { kind: 'failed', error: isBusy(job.jobRef) } }
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
  const lockIds = jobs.flatMap(({ jobRef, detail }) => {
    const row = rowOf.get(jobRef)
    return row !== undefined && row.queueId !== null && isHeld(detail, row) ? [row.lockedBy!] : []
  })
  // As soon as no job of the dead holds them; the jobs' own order within them is kept.
  if (lockIds.length > 0) await freeQueues(run, tables, heldBy(lockIds))
  // A superseding job too: a worker may have passed it over while this transaction had it locked.
  await notify(run, outcomes.filter(({ kind }) => kind === 'requeued' || kind === 'superseded').length)
  return outcomes
}

/** The order to carry plans out in: of handed-off jobs with one key the newest takes it, and the others find it taken. */
function newestFirst(plans: readonly Plan[]): number[] {
  const age = (plan: Plan): string => (plan.kind === 'add' ? plan.job.createdAt : '')
  return [...plans.keys()].sort((a, b) => age(plans[b]!).localeCompare(age(plans[a]!)))
}

const isBusy = (id: string): Error =>
  new Error(`Job ${id} is locked by a transaction that is open still: it is recovered when that has ended.`)
