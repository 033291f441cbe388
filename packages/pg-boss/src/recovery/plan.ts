import type { DecidedJob, JobOutcome, Orphan } from '@holdfast/core'
import type { LockedJob } from '../job-sql.js'
import type { ExhaustedPolicy } from '../options.js'
import { type Failure, storable, type TaskPayload } from '../payloads.js'

/** What is to be done about one job. */
export type Plan =
  | { readonly kind: 'nothing'; readonly outcome: JobOutcome }
  /** Put it back, to be run again. */
  | ({ readonly kind: 'putBack' } & PutBack)
  /** Put it back and have pg-boss fail it, by its own rules. */
  | ({ readonly kind: 'fail'; readonly error: Failure } & PutBack)

export interface PutBack {
  /** The JSON text of the row that it is made from. */
  readonly job: string
  /** That row is not in the table any more. */
  readonly anew: boolean
  readonly delayMs: number
  readonly retryLimit: number
  /** Of the row before, and at last. */
  readonly keptRetryLimit: number
  /** Kept as it is where undefined. */
  readonly output?: Failure
  readonly outcome: JobOutcome
}

/** What a job's row says of it. */
interface JobFacts {
  readonly retry_count: number
  readonly retry_limit: number
  readonly retry_delay: number
  readonly retry_backoff: boolean
  /** Seconds; of 12. */
  readonly retry_delay_max?: number | null
  readonly output: { readonly message?: unknown } | null
}

/**
 * @param row the job's, where pg-boss has it still
 * @param policy what becomes of a job that died on its last attempt
 */
export function planFor(
  decided: DecidedJob,
  payload: TaskPayload,
  row: LockedJob | undefined,
  policy: ExhaustedPolicy,
): Plan {
  const snapshot = payload.kind === 'handOff' ? payload.job : undefined
  if (row === undefined) {
    if (snapshot !== undefined) return goOn(decided, payload, { job: snapshot, anew: true }, policy)
    return nothing(decided.orphan.cause === 'retry' ? gone(payload) : { kind: 'finished' })
  }
  if (row.state === 'created' || row.state === 'retry') return nothing({ kind: 'alreadyThere' })
  if (decided.orphan.cause === 'retry') {
    if (row.state === 'active') return nothing({ kind: 'alreadyThere' })
    const isWanted = row.state === 'failed' || (snapshot !== undefined && row.sameAttempt)
    return isWanted ? onceMore(row.job) : nothing({ kind: 'finished' })
  }
  if (row.state === 'active') {
    // Of another attempt: pg-boss has given it to someone else.
    if (!row.sameAttempt) return nothing({ kind: 'alreadyThere' })
    return goOn(decided, payload, { job: row.job, anew: false }, policy)
  }
  // For pg-boss a handed-off job is completed; the work on it is not.
  const isHandedOff = snapshot !== undefined && row.state === 'completed' && row.sameAttempt
  if (isHandedOff) return goOn(decided, payload, { job: snapshot, anew: false }, policy)
  return nothing({ kind: 'finished' })
}

const nothing = (outcome: JobOutcome): Plan => ({ kind: 'nothing', outcome })

const gone = ({ name, id }: TaskPayload): JobOutcome => ({
  kind: 'failed',
  error: new Error(`Job ${id} of queue ${JSON.stringify(name)} is no longer in pg-boss: send it again.`),
})

/** A person wants it to run: now, and at least this once, whatever its attempts. */
function onceMore(job: string): Plan {
  const { retry_count, retry_limit }: JobFacts = JSON.parse(job)
  const retryLimit = Math.max(retry_limit, retry_count + 1)
  const base = { job, anew: false, retryLimit, keptRetryLimit: retryLimit, delayMs: 0 }
  return { kind: 'putBack', ...base, outcome: { kind: 'requeued', jobRef: null } }
}

/** How the run of a job ended that has no word of its own for it. */
const ENDS: Readonly<Record<Orphan['cause'], string>> = {
  crash: 'Worker process died while running this job',
  overdue: 'This job ran for longer than its maxRuntime',
  release: 'This job was given back by its worker while it ran',
  retry: 'This job was let run once more',
}

/** What the output begins with when a job was given one attempt more. */
const REFUNDED = 'Given one more attempt: '

/** Each fetch counts, as after an expiry; only a job that was given back alive has its attempt back. */
function goOn(
  { orphan, jobRef, decision }: DecidedJob,
  payload: TaskPayload,
  from: Pick<PutBack, 'job' | 'anew'>,
  policy: ExhaustedPolicy,
): Plan {
  const facts: JobFacts = JSON.parse(from.job)
  const { retry_count: count, retry_limit: limit, output } = facts
  const base = { ...from, delayMs: 0, retryLimit: limit, keptRetryLimit: limit }
  const requeued = { kind: 'requeued', jobRef } as const
  const { failure } = payload
  if (failure !== undefined) {
    // Failed for good it is pg-boss's own business, and no recovery.
    const outcome: JobOutcome = count < limit ? requeued : { kind: 'finished' }
    return { kind: 'fail', ...base, error: failure, outcome }
  }
  if (decision.kind === 'quarantine') {
    const outcome = { kind: 'quarantined' } as const
    return {
      kind: 'fail',
      ...base,
      retryLimit: Math.min(count, limit),
      error: { message: storable(decision.reason) },
      outcome,
    }
  }
  // A job that may be tried only once must not begin twice.
  if (orphan.cause === 'release' && limit > 0) {
    return { kind: 'putBack', ...base, retryLimit: limit + 1, keptRetryLimit: limit + 1, outcome: requeued }
  }
  const { notBefore = 0, backoff = false } = decision
  const delayMs = backoff ? Math.max(notBefore, ownDelay(facts)) : notBefore
  const end = ENDS[orphan.cause]
  if (count < limit) return { kind: 'putBack', ...base, delayMs, output: { message: end }, outcome: requeued }
  const reason = `${end}, on its last attempt (${count + 1} of ${limit + 1})`
  if (policy === 'refundOnce' && !String(output?.message ?? '').startsWith(REFUNDED)) {
    const retryLimit = count + 1
    const told = { message: `${REFUNDED}${reason}` }
    return {
      kind: 'putBack',
      ...base,
      retryLimit,
      keptRetryLimit: retryLimit,
      delayMs,
      output: told,
      outcome: requeued,
    }
  }
  return { kind: 'fail', ...base, error: { message: reason }, outcome: { kind: 'exhausted', reason } }
}

/** Milliseconds that pg-boss itself waits before the next try, without its share of chance. */
function ownDelay({ retry_count, retry_delay, retry_backoff, retry_delay_max }: JobFacts): number {
  const grown = retry_backoff
    ? (Math.max(retry_delay, 1) * 2 ** Math.min(16, retry_count + 1)) / 2
    : retry_delay
  return Math.min(grown, retry_delay_max ?? Number.POSITIVE_INFINITY) * 1_000
}
