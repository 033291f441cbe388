import { sql } from 'kysely'
import { AdapterTimeoutError } from '../errors.js'
import { lockOrphans, type OrphanRow } from '../store/orphans.js'
import type { TransactionStore } from '../store/store.js'
import { inAdapterTransaction } from './adapter-transaction.js'
import { type Batch, type BatchScope, carryOut } from './batch.js'
import { endedAside } from './ended.js'
import { addReport, type BatchReport, emptyReport, postpone, settle } from './settle.js'

/**
 * Recovers the next orphans of one owner where the queue is in the monitor's own database: what the queue does about
 * them and the end of their rows are one transaction. Correct without the GC lock too: two recoveries never hold the
 * same row.
 */
export function recoverAtomically(
  scope: BatchScope,
  after: number,
  limit: number,
  mayGoOn: (store: TransactionStore) => Promise<boolean>,
): Promise<Batch> {
  const { config, adapter, owner } = scope
  return inAdapterTransaction(scope.store, config, async (store) => {
    const report = emptyReport()
    if (!(await mayGoOn(store))) return { ...report, next: undefined }
    const rows = await lockOrphans(store, { owner: owner.processId, queue: adapter.name, after, limit })
    const left = await endedAside(scope, store, rows)
    if (left.length > 0) await recoverRows({ ...scope, store }, report, left)
    return { ...report, next: rows.length < limit ? undefined : rows.at(-1)!.nonce }
  })
}

interface TransactionScope extends BatchScope {
  readonly store: TransactionStore
}

/** A batch that fails is undone and split, so that one bad job never holds up the others. */
async function recoverRows(
  scope: TransactionScope,
  report: BatchReport,
  rows: readonly OrphanRow[],
): Promise<void> {
  const { db, dialect } = scope.store
  await sql`savepoint holdfast_batch`.execute(db)
  try {
    const done = await settle(scope, scope.store, await carryOut(scope, rows, db))
    await sql`release savepoint holdfast_batch`.execute(db)
    addReport(report, done)
  } catch (error) {
    // The database may have ended the transaction already; what hangs once hangs for every part.
    if (dialect.errorKind(error) === 'transient' || AdapterTimeoutError.is(error)) throw error
    // With the connection gone this throws too, and the transaction is lost as a whole: nothing half done stays.
    await sql`rollback to savepoint holdfast_batch`.execute(db)
    if (rows.length === 1) {
      report.failed.push(await postpone(scope, scope.store, rows[0]!, error))
      return
    }
    const middle = Math.ceil(rows.length / 2)
    await recoverRows(scope, report, rows.slice(0, middle))
    await recoverRows(scope, report, rows.slice(middle))
  }
}
