import type { Decision, JobOutcome, Orphan } from '@holdfast/core'
import type { JobSnapshot } from '../payloads.js'
import { backoffMs } from '../tables.js'
import type { ExhaustedPolicy } from '../task-options.js'
import { type GraphileJob, isHeld } from './expand.js'
import type { JobRow } from './held-jobs.js'

/** How a job goes on in graphile-worker. */
export interface Continuation {
  readonly attempts: number
  /** Milliseconds from now; null keeps its time. */
  readonly delayMs: number | null
  /** Kept where null. */
  readonly lastError: string | null
  readonly outcome: (jobRef: string) => JobOutcome
}

/** What is to be done about one job. */
export type Plan =
  | { readonly kind: 'nothing'; readonly outcome: JobOutcome }
  /** The row is there, held by the dead: unlock it in place. */
  | { readonly kind: 'unlock'; readonly row: JobRow; readonly next: Continuation }
  /** Its work is done, only the row is left. */
  | { readonly kind: 'remove'; readonly row: JobRow; readonly outcome: JobOutcome }
  /** The row is gone, or about to be: add the job anew. */
  | {
      readonly kind: 'add'
      readonly job: JobSnapshot
      readonly remove: JobRow | undefined
      readonly next: Continuation
    }

export type DecidedGraphileJob = GraphileJob & { readonly decision: Decision }

/** What a job's row or snapshot says of it. */
type JobFacts = Pick<JobRow, 'attempts' | 'maxAttempts' | 'lastError'>

/** @param policy what becomes of a job that died on its last attempt */
export function planFor(job: DecidedGraphileJob, row: JobRow | undefined, policy: ExhaustedPolicy): Plan {
  const { handOff, end } = job.detail
  if (job.orphan.cause === 'retry') {
    if (handOff !== undefined && row === undefined)
      return { kind: 'add', job: handOff.job, remove: undefined, next: onceMore(handOff.job) }
    if (row === undefined) return nothing({ kind: 'finished' })
    return row.lockedBy === null
      ? { kind: 'unlock', row, next: onceMore(row) }
      : nothing({ kind: 'alreadyThere' })
  }
  if (row !== undefined && !isHeld(job.detail, row)) return nothing(done(job, row, policy))
  if (row !== undefined && end !== undefined && end.failure === undefined) {
    return { kind: 'remove', row, outcome: { kind: 'finished' } }
  }
  if (row?.superseded) return { kind: 'unlock', row, next: asItIs(row) }
  if (handOff?.job.superseded && end === undefined) return nothing({ kind: 'superseded' })
  if (handOff !== undefined) {
    // A row that is still there may be deleted any moment by the process that handed the job off, by id alone: taken
    // over in place it would be lost. It is replaced.
    return { kind: 'add', job: handOff.job, remove: row, next: continuation(job, handOff.job, policy) }
  }
  if (row === undefined) return nothing({ kind: 'finished' })
  return { kind: 'unlock', row, next: continuation(job, row, policy) }
}

const nothing = (outcome: JobOutcome): Plan => ({ kind: 'nothing', outcome })

/**
 * A row that the dead don't hold. Another try of this recovery may have failed the job, without having been able to say
 * so: then this one says it.
 */
function done(job: DecidedGraphileJob, row: JobRow, policy: ExhaustedPolicy): JobOutcome {
  const next = continuation(job, row, policy)
  const outcome = next.outcome(row.id)
  const isFailed = row.lockedBy === null && row.lastError !== null && row.lastError === next.lastError
  const says = outcome.kind === 'quarantined' || outcome.kind === 'exhausted'
  return isFailed && says ? outcome : { kind: 'alreadyThere' }
}

/** A person wants it to run: now, and at least this once, whatever its attempts. */
const onceMore = ({ attempts, maxAttempts }: Pick<JobFacts, 'attempts' | 'maxAttempts'>): Continuation =>
  goesOn(Math.min(attempts, maxAttempts - 1), 0)

/** Its key and its attempts were taken from it: it is only unlocked, and never runs again. */
const asItIs = ({ attempts }: JobRow): Continuation => ({
  ...goesOn(attempts, null),
  outcome: () => ({ kind: 'superseded' }),
})

/** What `last_error` begins with when a job was given its last attempt back. */
const REFUNDED = 'Given one more attempt: '

/** How the run of a job ended that has no word of its own for it. */
const ENDS: Readonly<Record<Orphan['cause'], string>> = {
  crash: 'Worker process died while running this job',
  overdue: 'This job ran for longer than its maxRuntime',
  release: 'This job was given back by its worker while it ran',
  retry: 'This job was let run once more',
}

function continuation(
  { orphan, started, decision, detail }: DecidedGraphileJob,
  { attempts, maxAttempts, lastError }: JobFacts,
  policy: ExhaustedPolicy,
): Continuation {
  if (started === false) return goesOn(attempts - 1, null)
  const failure = detail.end?.failure
  if (failure !== undefined) {
    const retried = { ...goesOn(attempts, backoffMs(attempts)), lastError: failure }
    // Failed for good, as graphile-worker shows it; that is its own business and no recovery.
    return attempts < maxAttempts ? retried : { ...retried, outcome: () => ({ kind: 'finished' }) }
  }
  if (decision.kind === 'quarantine') {
    return { ...failed(maxAttempts, decision.reason), outcome: (jobRef) => ({ kind: 'quarantined', jobRef }) }
  }
  // Handed over alive is no failed attempt; but a job that may be tried only once must not begin twice.
  if (orphan.cause === 'release' && maxAttempts > 1) return goesOn(attempts - 1, detail.pauseMs ?? null)
  const { notBefore, backoff } = decision
  const delay =
    backoff && notBefore !== undefined
      ? Math.max(notBefore, backoffMs(attempts))
      : (notBefore ?? detail.pauseMs ?? null)
  if (attempts < maxAttempts) return goesOn(attempts, delay)
  const reason = `${ENDS[orphan.cause]}, on its last attempt (${attempts} of ${maxAttempts})`
  if (policy === 'refundOnce' && !lastError?.startsWith(REFUNDED)) {
    return { ...goesOn(maxAttempts - 1, delay), lastError: `${REFUNDED}${reason}` }
  }
  return { ...failed(maxAttempts, reason), outcome: (jobRef) => ({ kind: 'exhausted', reason, jobRef }) }
}

function goesOn(attempts: number, delayMs: number | null): Continuation {
  return {
    attempts: Math.max(0, attempts),
    delayMs,
    lastError: null,
    outcome: (jobRef) => ({ kind: 'requeued', jobRef }),
  }
}

/** As graphile-worker marks a job that will not run again: no attempts left, and the reason in `last_error`. */
function failed(maxAttempts: number, reason: string): Omit<Continuation, 'outcome'> {
  return { attempts: maxAttempts, delayMs: null, lastError: reason }
}
