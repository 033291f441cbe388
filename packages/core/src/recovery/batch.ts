import type { Transaction } from 'kysely'
import type {
  DecidedJob,
  JobOutcome,
  Orphan,
  OrphanedJob,
  QueueAdapter,
  RecoveryContext,
} from '../adapter.js'
import type { PayloadCodec } from '../codec.js'
import { fullTaskId } from '../identity.js'
import type { Logger } from '../logger.js'
import type { MonitorConfig } from '../options.js'
import { readCrashes } from '../store/crashes.js'
import { causeOf, type OrphanOwner, type OrphanRow } from '../store/orphans.js'
import type { Store } from '../store/store.js'
import { readPayload } from '../task/payload.js'
import { answered } from './answered.js'
import { checkOutcomes } from './check-outcomes.js'
import { contextOf } from './context.js'
import { decide, isCrash } from './decide.js'
import type { BatchReport } from './settle.js'

/** What recovers one owner's tasks of one queue. */
export interface BatchScope {
  readonly store: Store
  readonly config: MonitorConfig
  readonly codec: PayloadCodec | undefined
  readonly adapter: QueueAdapter
  readonly owner: OrphanOwner
  readonly logger: Logger
  /** Who recovers, for the history. */
  readonly byProcess: string
  /** Aborts when the recovery must end. */
  readonly signal: AbortSignal
  /** Of a recovery in two phases. */
  readonly rename?: RecoveryContext['rename']
  /** The identities that it has given so far, by the nonce of the row. */
  readonly renamed?: ReadonlyMap<number, string>
}

export interface Batch extends BatchReport {
  /** Where the next batch goes on; undefined when this was the last. */
  readonly next: number | undefined
}

/** A job that is not given to its adapter yet: its crash is counted and its row kept for `ms`. */
export interface HeldJob {
  readonly job: DecidedJob
  readonly ms: number
}

/** What came of some rows, before it is written down. */
export interface CarriedOut {
  readonly rows: readonly OrphanRow[]
  readonly jobs: readonly DecidedJob[]
  readonly outcomes: readonly JobOutcome[]
  /** Those whose crash was counted just before they were recovered. */
  readonly counted: ReadonlySet<DecidedJob>
  readonly held: readonly HeldJob[]
  readonly unreadable: readonly { readonly row: OrphanRow; readonly error: unknown }[]
}

/**
 * Reads the rows, expands them to jobs, decides each, and lets the adapter carry the decisions out.
 *
 * @param count counts crashes that are to be counted before the jobs are recovered; answers those that it did
 */
export async function carryOut(
  scope: BatchScope,
  rows: readonly OrphanRow[],
  trx: Transaction<unknown> | undefined,
  count: (jobs: readonly DecidedJob[]) => Promise<readonly DecidedJob[]> = async () => [],
): Promise<CarriedOut> {
  const { adapter } = scope
  const context = contextOf(scope, trx)
  const { orphans, readable, unreadable } = read(scope, rows)
  const expanded = adapter.expand
    ? await answered(scope, 'expands', adapter.expand(orphans, context))
    : orphans.map((orphan): OrphanedJob => ({ orphan, jobRef: orphan.jobRef }))
  // The policy is the user's, and may hang like any adapter.
  const deciding = decideAll(scope, readable, expanded)
  const { jobs, held, uncounted } = await answered(scope, 'decides (onCrash)', deciding)
  const counted = new Set(await count(uncounted))
  const outcomes = jobs.length === 0 ? [] : await answered(scope, 'recovers', adapter.recover(jobs, context))
  checkOutcomes(adapter, outcomes, jobs.length)
  return { rows: readable, jobs, outcomes, counted, held, unreadable }
}

function read({ owner, codec }: BatchScope, rows: readonly OrphanRow[]) {
  const orphans: Orphan[] = []
  const readable: OrphanRow[] = []
  const unreadable: { row: OrphanRow; error: unknown }[] = []
  for (const row of rows) {
    try {
      orphans.push(orphanOf(row, owner, readPayload(row.payload, codec)))
      readable.push(row)
    } catch (error) {
      unreadable.push({ row, error })
    }
  }
  return { orphans, readable, unreadable }
}

function orphanOf(
  { nonce, id, queue, jobRef, onCrash }: OrphanRow,
  owner: OrphanOwner,
  payload: unknown,
): Orphan {
  const { processId, orphanedForMs } = owner
  const policy = onCrash === 'requeue' || onCrash === 'quarantine' ? onCrash : null
  const base = { fullId: fullTaskId(processId, id), processId, taskId: id, nonce, queue, jobRef, payload }
  return { ...base, cause: causeOf(owner), onCrash: policy, orphanedForMs }
}

/** Adds this crash to each job's count and decides what becomes of it. */
async function decideAll(
  { store, config, adapter }: BatchScope,
  rows: readonly OrphanRow[],
  orphaned: readonly OrphanedJob[],
): Promise<{ jobs: DecidedJob[]; held: HeldJob[]; uncounted: DecidedJob[] }> {
  const rowOf = new Map(rows.map((row) => [row.nonce, row]))
  const refs = orphaned.flatMap(({ jobRef }) => (jobRef === null ? [] : [jobRef]))
  const counts = await readCrashes(store, adapter.name, refs, config.crashWindow)
  // A row that stands for many jobs can't be kept for one of them.
  const mayHold = !adapter.capabilities.delay && adapter.expand === undefined
  const jobs: DecidedJob[] = []
  const held: HeldJob[] = []
  const uncounted: DecidedJob[] = []
  for (const job of orphaned) {
    const marked = rowOf.get(job.orphan.nonce)?.crashes ?? null
    const before = job.jobRef === null ? 0 : (counts.get(job.jobRef) ?? 0)
    // The row of several jobs only says that the crashes of those that it stood for then are counted.
    const counted = marked === null || adapter.expand === undefined ? marked : before || null
    const crashes = counted ?? (isCrash(job) ? before + 1 : before)
    const recoveryId = recoveryIdOf(job)
    const decision = await decide(job, crashes, config)
    const decided: DecidedJob = { ...job, crashes, recoveryId, decision }
    const pause = decision.kind === 'requeue' ? (decision.notBefore ?? 0) : 0
    if (mayHold && pause > 0) {
      if (counted === null) held.push({ job: decided, ms: pause })
      else jobs.push({ ...decided, decision: { kind: 'requeue' } }) // It has waited.
      continue
    }
    jobs.push(decided)
    if (counted === null && isCrash(job) && job.jobRef !== null) uncounted.push(decided)
  }
  return { jobs, held, uncounted }
}

/** By the registration, since a task id may be given again. */
function recoveryIdOf({ orphan: { processId, nonce }, jobRef }: OrphanedJob): string {
  const registration = `${processId}/${nonce}`
  return jobRef === null ? registration : `${registration}#${jobRef}`
}
