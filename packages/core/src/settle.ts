import { randomUUID } from 'node:crypto'
import type { DecidedJob, JobOutcome, QueueAdapter } from './adapter.js'
import { jittered } from './clock.js'
import { isCrash } from './decide.js'
import { messageOf, type QuarantinedEvent, type RecoveredEvent, storable, storedMessageOf } from './events.js'
import { fullTaskId } from './identity.js'
import { writeCrashes } from './store/crashes.js'
import { insertRecoveries } from './store/history.js'
import { insertQuarantine, type QuarantineRecord } from './store/quarantine.js'
import type { TransactionStore } from './store/store.js'
import { deleteOrphans, type OrphanOwner, type OrphanRow, postponeOrphan } from './store/tasks.js'

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

export interface SettleScope {
  readonly store: TransactionStore
  readonly adapter: QueueAdapter
  readonly owner: OrphanOwner
  readonly byProcess: string
}

/** Outcomes that show that the job was in flight in the dead process; the others met it elsewhere. */
const COUNTED: ReadonlySet<JobOutcome['kind']> = new Set(['requeued', 'exhausted', 'quarantined'])

/** Longest pause before a failed recovery is tried again, in ms. */
const MAX_RETRY = 60_000

/** Writes down what the adapter did and ends the rows, except those with a job that failed. */
export async function settle(
  scope: SettleScope,
  rows: readonly OrphanRow[],
  jobs: readonly DecidedJob[],
  outcomes: readonly JobOutcome[],
): Promise<BatchReport> {
  const { store, adapter, owner } = scope
  const report = emptyReport()
  const rowOf = new Map(rows.map((row) => [row.id, row]))
  const kept = new Map<OrphanRow, unknown>()
  const crashes = new Map<string, number>()
  const quarantine: QuarantineRecord[] = []
  const history: { event: RecoveredEvent; taskId: string }[] = []

  for (const [index, job] of jobs.entries()) {
    const outcome = outcomes[index]!
    const row = rowOf.get(job.orphan.taskId)!
    if (outcome.kind === 'failed') {
      kept.set(row, outcome.error)
      continue
    }
    const event = recoveredEvent(job, outcome)
    history.push({ event, taskId: job.orphan.fullId })
    if (isCrash(job) && event.newJobRef !== null && COUNTED.has(outcome.kind)) {
      crashes.set(event.newJobRef, job.crashes)
    }
    const reason = quarantineReason(job, outcome)
    if (reason === undefined) {
      report.recovered.push(event)
    } else {
      quarantine.push(quarantineRecord(row, owner, { jobRef: job.jobRef, crashes: job.crashes, reason }))
      report.quarantined.push(quarantinedEvent(event, reason))
    }
  }
  await writeCrashes(store, adapter.name, crashes)
  await insertQuarantine(store, quarantine)
  await insertRecoveries(
    store,
    history.map(({ event, taskId }) => ({ ...event, id: randomUUID(), taskId, byProcess: scope.byProcess })),
  )
  const ended = rows.filter((row) => !kept.has(row)).map(({ id }) => id)
  await deleteOrphans(store, owner.processId, ended)
  for (const [row, error] of kept) report.failed.push(await postpone(scope, row, error))
  return report
}

/** Keeps a row whose recovery failed, with the error and a growing pause. */
export async function postpone(
  { store, owner }: SettleScope,
  row: OrphanRow,
  error: unknown,
): Promise<FailedRecovery> {
  const attempts = row.attempts + 1
  const retryIn = Math.round(jittered(Math.min(MAX_RETRY, 500 * 2 ** attempts)))
  const text = storedMessageOf(error)
  await postponeOrphan(store, { owner: owner.processId, id: row.id, error: text, retryIn })
  return {
    taskId: fullTaskId(owner.processId, row.id),
    queue: row.queue,
    jobRef: row.jobRef,
    error: text,
    attempts,
  }
}

/** Rows that can't be read can't be recovered by anyone, now or later. */
export async function quarantineUnreadable(
  { store, owner }: SettleScope,
  unreadable: readonly { row: OrphanRow; error: unknown }[],
): Promise<QuarantinedEvent[]> {
  const records = unreadable.map(({ row, error }) => {
    const reason = storable(messageOf(error))
    return quarantineRecord(row, owner, { jobRef: row.jobRef, crashes: 1, reason, lastError: reason })
  })
  await insertQuarantine(store, records)
  await deleteOrphans(
    store,
    owner.processId,
    unreadable.map(({ row }) => row.id),
  )
  return records.map(({ queue, jobRef, reason, crashes, processId: fromProcess }) => {
    return { queue, jobRef, fromProcess, reason, crashes }
  })
}

function recoveredEvent({ orphan, jobRef, crashes }: DecidedJob, outcome: JobOutcome): RecoveredEvent {
  const { queue, processId: fromProcess, orphanedForMs, cause } = orphan
  const newJobRef = outcome.kind === 'requeued' ? outcome.jobRef : jobRef
  return { queue, jobRef, newJobRef, outcome: outcome.kind, fromProcess, cause, crashes, orphanedForMs }
}

function quarantinedEvent(
  { queue, jobRef, fromProcess, crashes }: RecoveredEvent,
  reason: string,
): QuarantinedEvent {
  return { queue, jobRef, fromProcess, reason, crashes }
}

function quarantineReason({ decision }: DecidedJob, outcome: JobOutcome): string | undefined {
  if (outcome.kind === 'exhausted') return outcome.reason
  if (outcome.kind !== 'quarantined') return undefined
  return decision.kind === 'quarantine' ? decision.reason : 'quarantined by its adapter'
}

function quarantineRecord(
  { queue, payload }: OrphanRow,
  { processId }: OrphanOwner,
  detail: { jobRef: string | null; crashes: number; reason: string; lastError?: string },
): QuarantineRecord {
  return { id: randomUUID(), processId, queue, payload, lastError: null, ...detail }
}
