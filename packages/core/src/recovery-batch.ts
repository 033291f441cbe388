import { sql } from 'kysely'
import type { DecidedJob, Orphan, OrphanedJob, QueueAdapter, RecoveryContext } from './adapter.js'
import { decide, isCrash } from './decide.js'
import { AdapterError } from './errors.js'
import { fullTaskId } from './identity.js'
import type { Logger } from './logger.js'
import type { MonitorConfig } from './options.js'
import { parsePayload } from './payload.js'
import {
  type BatchReport,
  emptyReport,
  postpone,
  quarantineUnreadable,
  type SettleScope,
  settle,
} from './settle.js'
import { readCrashes } from './store/crashes.js'
import { inTransaction, type Store, type TransactionStore } from './store/store.js'
import {
  isReleasedOwner,
  lockOrphans,
  type OrphanOwner,
  type OrphanRow,
  registeredJobs,
} from './store/tasks.js'

export interface BatchScope {
  readonly store: Store
  readonly config: MonitorConfig
  readonly adapters: ReadonlyMap<string, QueueAdapter>
  readonly logger: Logger
  /** Who recovers, for the history. */
  readonly byProcess: string
}

export interface Batch extends BatchReport {
  /** Where the next batch goes on; undefined when this was the last. */
  readonly next: string | undefined
}

/**
 * Recovers the next orphans of one owner: what the queue does about them and the end of their rows are one
 * transaction. Correct without the GC lock too: two recoveries never hold the same row.
 */
export function recoverBatch(
  scope: BatchScope,
  owner: OrphanOwner,
  after: string,
  mayGoOn: (store: TransactionStore) => Promise<boolean>,
): Promise<Batch> {
  const { config, adapters } = scope
  return inTransaction(scope.store, async (store) => {
    const report = emptyReport()
    await store.dialect.limitSilence(store.db, config.gcLockTtl)
    if (!(await mayGoOn(store))) return { ...report, next: undefined }
    const queues = [...adapters.keys()]
    const rows = await lockOrphans(store, { owner: owner.processId, queues, after, limit: config.batchSize })
    for (const queue of new Set(rows.map((row) => row.queue))) {
      const rowScope = { ...scope, store, adapter: adapters.get(queue)!, owner }
      const ofQueue = rows.filter((row) => row.queue === queue)
      await recoverRows(rowScope, report, ofQueue)
    }
    return { ...report, next: rows.length < config.batchSize ? undefined : rows.at(-1)!.id }
  })
}

interface RowScope extends SettleScope {
  readonly config: MonitorConfig
  readonly logger: Logger
}

/** A batch that fails is undone and split, so that one bad job never holds up the others. */
async function recoverRows(scope: RowScope, report: BatchReport, rows: readonly OrphanRow[]): Promise<void> {
  const { db, dialect } = scope.store
  await sql`savepoint holdfast_batch`.execute(db)
  try {
    const done = await attempt(scope, rows)
    await sql`release savepoint holdfast_batch`.execute(db)
    report.recovered.push(...done.recovered)
    report.quarantined.push(...done.quarantined)
    report.failed.push(...done.failed)
  } catch (error) {
    // With the connection gone this throws too, and the transaction is lost as a whole: nothing half done stays.
    await sql`rollback to savepoint holdfast_batch`.execute(db)
    if (dialect.errorKind(error) === 'transient') throw error
    if (rows.length === 1) {
      report.failed.push(await postpone(scope, rows[0]!, error))
      return
    }
    const middle = Math.ceil(rows.length / 2)
    await recoverRows(scope, report, rows.slice(0, middle))
    await recoverRows(scope, report, rows.slice(middle))
  }
}

async function attempt(scope: RowScope, rows: readonly OrphanRow[]): Promise<BatchReport> {
  const { store, adapter, owner, logger } = scope
  const registered: RecoveryContext['registered'] = (refs) => registeredJobs(store, adapter.name, refs)
  const context: RecoveryContext = { trx: store.db, logger, registered }
  const { orphans, readable, unreadable } = read(rows, owner)
  const jobs = adapter.expand
    ? await adapter.expand(orphans, context)
    : orphans.map((orphan): OrphanedJob => ({ orphan, jobRef: orphan.jobRef }))
  const decided = await decideAll(scope, jobs)
  const outcomes = decided.length === 0 ? [] : await adapter.recover(decided, context)
  if (outcomes.length !== decided.length) {
    throw new AdapterError(
      `Adapter ${JSON.stringify(adapter.name)} answered ${outcomes.length} outcomes for ${decided.length} jobs.`,
    )
  }
  const report = await settle(scope, readable, decided, outcomes)
  report.quarantined.push(...(await quarantineUnreadable(scope, unreadable)))
  return report
}

function read(rows: readonly OrphanRow[], owner: OrphanOwner) {
  const released = owner.state === 'released' || isReleasedOwner(owner.processId)
  const orphans: Orphan[] = []
  const readable: OrphanRow[] = []
  const unreadable: { row: OrphanRow; error: unknown }[] = []
  for (const row of rows) {
    try {
      orphans.push({
        fullId: fullTaskId(owner.processId, row.id),
        processId: owner.processId,
        taskId: row.id,
        queue: row.queue,
        jobRef: row.jobRef,
        payload: parsePayload(row.payload),
        cause: released ? 'release' : 'crash',
        orphanedForMs: owner.orphanedForMs,
      })
      readable.push(row)
    } catch (error) {
      unreadable.push({ row, error })
    }
  }
  return { orphans, readable, unreadable }
}

/** Adds this crash to each job's count and decides what becomes of it. */
async function decideAll(
  { store, config, adapter }: RowScope,
  jobs: readonly OrphanedJob[],
): Promise<DecidedJob[]> {
  const refs = jobs.flatMap(({ jobRef }) => (jobRef === null ? [] : [jobRef]))
  const counts = await readCrashes(store, adapter.name, refs, config.crashWindow)
  return jobs.map((job) => {
    const before = job.jobRef === null ? 0 : (counts.get(job.jobRef) ?? 0)
    const crashes = isCrash(job) ? before + 1 : before
    const recoveryId = job.jobRef === null ? job.orphan.fullId : `${job.orphan.fullId}#${job.jobRef}`
    return { ...job, crashes, recoveryId, decision: decide(job, crashes, config) }
  })
}
