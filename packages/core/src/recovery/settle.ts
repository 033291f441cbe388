import { randomUUID } from 'node:crypto'
import type { DecidedJob, JobOutcome, Orphan } from '../adapter.js'
import { jittered } from '../clock.js'
import {
  messageOf,
  type QuarantinedEvent,
  type RecoveredEvent,
  storable,
  storedMessageOf,
} from '../events.js'
import { fullTaskId } from '../identity.js'
import { uncountCrashes, writeCrashes } from '../store/crashes.js'
import { insertRecoveries } from '../store/history.js'
import { deleteOrphans, holdOrphan, type OrphanRow, postponeOrphan } from '../store/orphans.js'
import { insertQuarantine, type QuarantineRecord } from '../store/quarantine.js'
import type { TransactionStore } from '../store/store.js'
import type { BatchScope, CarriedOut } from './batch.js'
import { isCrash } from './decide.js'

export interface FailedRecovery {
  readonly taskId: string
  readonly queue: string
  readonly jobRef: string | null
  readonly error: string
  /** How often recovering this task has failed, this time included. */
  readonly attempts: number
}

/** What a recovery did; told to the world only once its transaction has committed. */
export interface BatchReport {
  readonly recovered: RecoveredEvent[]
  readonly quarantined: QuarantinedEvent[]
  readonly failed: FailedRecovery[]
}

export const emptyReport = (): BatchReport => ({ recovered: [], quarantined: [], failed: [] })

export function addReport(to: BatchReport, { recovered, quarantined, failed }: BatchReport): void {
  to.recovered.push(...recovered)
  to.quarantined.push(...quarantined)
  to.failed.push(...failed)
}

/** Outcomes that show that the job was in flight in the dead process; the others met it elsewhere. */
const COUNTED: ReadonlySet<JobOutcome['kind']> = new Set(['requeued', 'exhausted', 'quarantined'])

/** Longest pause before a failed recovery is tried again, in ms. */
const MAX_RETRY = 60_000

/** Whether the job goes on under a new identity, with crashes to its name. */
export const takesCountAlong = ({ jobRef, newJobRef, crashes }: RecoveredEvent): boolean =>
  crashes > 0 && newJobRef !== jobRef

/**
 * Whether the crashes of a job are to this name already: in two phases they were counted, and copied with a `rename`,
 * before it could run. Written again they might undo a crash that it has had since.
 */
const hasCount = ({ adapter, renamed }: BatchScope, { jobRef, orphan }: DecidedJob, name: string): boolean =>
  !adapter.capabilities.atomicRecovery &&
  jobRef !== null &&
  (name === jobRef || name === renamed?.get(orphan.nonce))

/** Writes down what the adapter did and ends the rows, except those with a job that failed or is held back. */
export async function settle(
  scope: BatchScope,
  store: TransactionStore,
  { rows, jobs, outcomes, counted, held, unreadable }: CarriedOut,
): Promise<BatchReport> {
  const { adapter, owner } = scope
  const report = emptyReport()
  const rowOf = new Map(rows.map((row) => [row.nonce, row]))
  const kept = new Map<OrphanRow, unknown>()
  const crashes = new Map<string, number>()
  const uncounted: string[] = []
  const quarantine: QuarantineRecord[] = []
  const history: RecoveredEvent[] = []

  for (const [index, job] of jobs.entries()) {
    const outcome = outcomes[index]!
    const row = rowOf.get(job.orphan.nonce)!
    if (outcome.kind === 'failed') {
      kept.set(row, outcome.error)
      continue
    }
    const event = recoveredEvent(job, outcome)
    history.push(event)
    if (event.newJobRef !== null && COUNTED.has(outcome.kind)) {
      const counts = isCrash(job) || takesCountAlong(event)
      if (counts && !hasCount(scope, job, event.newJobRef)) crashes.set(event.newJobRef, job.crashes)
    } else if (counted.has(job)) {
      // It was counted before the adapter knew that the job was not in flight any more. One that an earlier try has
      // counted stays so: that try may be why it is not.
      uncounted.push(job.jobRef!)
    }
    const reason = quarantineReason(job, outcome)
    if (reason === undefined) {
      report.recovered.push(event)
    } else {
      const record = quarantineRecord(scope, row, { ...job, jobRef: event.newJobRef }, reason)
      quarantine.push(record)
      report.quarantined.push(quarantinedEvent(record))
    }
  }
  for (const { job } of held) if (job.jobRef !== null) crashes.set(job.jobRef, job.crashes)
  await writeCrashes(store, adapter.name, crashes)
  await uncountCrashes(store, adapter.name, uncounted)
  for (const { row, error } of unreadable) {
    const record = unreadableRecord(scope, row, error)
    quarantine.push(record)
    report.quarantined.push(quarantinedEvent(record))
  }
  await insertQuarantine(store, quarantine)
  await writeHistory(store, history, scope.byProcess)
  const waiting = new Set(held.map(({ job }) => job.orphan.nonce))
  const ended = rows.filter((row) => !kept.has(row) && !waiting.has(row.nonce))
  const gone = [...ended, ...unreadable.map(({ row }) => row)].map(({ nonce }) => nonce)
  await deleteOrphans(store, owner.processId, gone)
  for (const { job, ms } of held) {
    const { nonce } = job.orphan
    await holdOrphan(store, { owner: owner.processId, nonce, crashes: job.crashes, ms })
  }
  for (const [row, error] of kept) report.failed.push(await postpone(scope, store, row, error))
  return report
}

/** What a row that was replaced can have come to: its job runs again already, or had another row. */
const REPLACEABLE: ReadonlySet<JobOutcome['kind']> = new Set(['requeued', 'alreadyThere', 'superseded'])

/** Writes down the recovery of jobs that were registered anew since then, so that their rows are gone already. */
export async function settleReplaced(
  scope: BatchScope,
  store: TransactionStore,
  { jobs, outcomes }: CarriedOut,
): Promise<BatchReport> {
  const recovered: RecoveredEvent[] = []
  const moved = new Map<string, number>()
  for (const [index, job] of jobs.entries()) {
    const event = recoveredEvent(job, outcomes[index]!)
    const { newJobRef, crashes } = event
    if (!REPLACEABLE.has(event.outcome)) continue
    recovered.push(event)
    if (newJobRef !== null && takesCountAlong(event) && !hasCount(scope, job, newJobRef)) {
      moved.set(newJobRef, crashes)
    }
  }
  await writeCrashes(store, scope.adapter.name, moved)
  await writeHistory(store, recovered, scope.byProcess)
  return { ...emptyReport(), recovered }
}

const writeHistory = (
  store: TransactionStore,
  events: readonly RecoveredEvent[],
  byProcess: string,
): Promise<void> =>
  insertRecoveries(
    store,
    events.map((event) => ({ ...event, id: randomUUID(), byProcess })),
  )

/** Keeps a row whose recovery failed, with the error and a growing pause. */
export async function postpone(
  { owner }: BatchScope,
  store: TransactionStore,
  row: OrphanRow,
  error: unknown,
): Promise<FailedRecovery> {
  const attempts = Number(row.attempts) + 1
  const retryIn = Math.round(jittered(Math.min(MAX_RETRY, 500 * 2 ** attempts)))
  const text = storedMessageOf(error)
  await postponeOrphan(store, { owner: owner.processId, nonce: row.nonce, error: text, retryIn })
  return {
    taskId: fullTaskId(owner.processId, row.id),
    queue: row.queue,
    jobRef: row.jobRef,
    error: text,
    attempts,
  }
}

export function recoveredEvent({ orphan, jobRef, crashes }: DecidedJob, outcome: JobOutcome): RecoveredEvent {
  const { fullId: taskId, queue, processId: fromProcess, orphanedForMs, cause } = orphan
  const newJobRef = 'jobRef' in outcome && outcome.jobRef !== undefined ? outcome.jobRef : jobRef
  return {
    taskId,
    queue,
    jobRef,
    newJobRef,
    outcome: outcome.kind,
    fromProcess,
    cause,
    crashes,
    orphanedForMs,
  }
}

function quarantinedEvent(record: QuarantineRecord): QuarantinedEvent {
  const { id, taskId, queue, jobRef, processId: fromProcess, reason, lastError, crashes } = record
  return { id, taskId, queue, jobRef, fromProcess, reason, lastError, crashes }
}

function quarantineReason({ decision }: DecidedJob, outcome: JobOutcome): string | undefined {
  if (outcome.kind === 'exhausted') return outcome.reason
  if (outcome.kind !== 'quarantined') return undefined
  return decision.kind === 'quarantine' ? decision.reason : 'quarantined by its adapter'
}

const ENDS: Readonly<Record<Orphan['cause'], string>> = {
  crash: 'the process died with it in flight',
  overdue: 'it ran for longer than its maxRuntime',
  release: 'its process gave it back',
  retry: 'it was retried from quarantine',
}

/** The last error is that of its recovery, if that failed before; else what ended the process it was in. */
function quarantineRecord(
  { owner }: BatchScope,
  { id, queue, payload, lastError }: OrphanRow,
  { jobRef, crashes, orphan }: DecidedJob,
  reason: string,
): QuarantineRecord {
  return {
    id: randomUUID(),
    taskId: fullTaskId(owner.processId, id),
    processId: owner.processId,
    queue,
    jobRef,
    payload,
    reason: storable(reason),
    lastError: lastError || `${ENDS[orphan.cause]}: ${owner.processId}`,
    crashes,
  }
}

/** Rows that can't be read can't be recovered by anyone before a person has done something about it. */
function unreadableRecord({ owner }: BatchScope, row: OrphanRow, error: unknown): QuarantineRecord {
  const { queue, jobRef, payload } = row
  return {
    id: randomUUID(),
    taskId: fullTaskId(owner.processId, row.id),
    processId: owner.processId,
    queue,
    jobRef,
    payload,
    reason: storable(messageOf(error)),
    lastError: storedMessageOf(error),
    crashes: Number(row.crashes ?? 1),
  }
}
