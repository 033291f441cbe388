import { randomUUID } from 'node:crypto'
import type { DecidedJob } from '../adapter.js'
import { monotonicNow } from '../clock.js'
import { AdapterTimeoutError } from '../errors.js'
import { isAlive } from '../store/processes.js'
import { inTransaction, type TransactionStore } from '../store/store.js'
import { type Claim, claimOrphans, lockClaimed, lockOrphans, type OrphanRow } from '../store/tasks.js'
import { type Batch, type BatchScope, type CarriedOut, carryOut } from './batch.js'
import { countCrashes } from './count-crashes.js'
import { addReport, emptyReport, postpone, settle, settleReplaced } from './settle.js'

type Part = CarriedOut | { readonly row: OrphanRow; readonly error: unknown }

/**
 * Recovers the next orphans of one owner where the queue is elsewhere, in two phases: the rows are claimed with a token
 * and an expiry, the adapter recovers them, and only then do they end. Whoever dies in between leaves a claim that
 * others take up; they call the adapter again with the same `recoveryId`, which it answers without doing it again.
 */
export async function recoverClaimed(
  scope: BatchScope,
  after: string,
  limit: number,
  mayGoOn: (store: TransactionStore) => Promise<boolean>,
): Promise<Batch> {
  const { config, adapter, owner, byProcess, store } = scope
  const claim: Claim = { by: byProcess, token: randomUUID() }
  const begun = monotonicNow()
  const late = AbortSignal.timeout(Math.max(0, config.gcLockTtl - config.safetyMargin))
  const rows = await inTransaction(store, async (inner) => {
    if (!(await mayGoOn(inner))) return []
    const found = await lockOrphans(inner, { owner: owner.processId, queue: adapter.name, after, limit })
    const ids = found.map(({ id }) => id)
    await claimOrphans(inner, { owner: owner.processId, ids, claim, ttl: config.gcLockTtl })
    return found
  })
  const next = rows.length < limit ? undefined : rows.at(-1)!.id
  if (rows.length === 0) return { ...emptyReport(), next }
  const signal = AbortSignal.any([scope.signal, late])
  const parts = await recoverParts({ ...scope, signal, claim }, rows, claim)
  const report = await inTransaction(store, async (inner) => {
    const done = emptyReport()
    const ids = rows.map(({ id }) => id)
    // Those whose claim was taken over are the other's to write down.
    const { ours, gone } = await lockClaimed(inner, { owner: owner.processId, ids, claim })
    // While this process counts as alive nobody else takes its claims up: what is gone was replaced by its job's next run.
    const inTime = monotonicNow() - begun < config.orphanThreshold - config.safetyMargin && !signal.aborted
    const replaced = gone.size > 0 && inTime && (await isAlive(inner, byProcess))
    for (const part of parts) {
      if ('error' in part) {
        if (ours.has(part.row.id)) done.failed.push(await postpone(scope, inner, part.row, part.error))
        continue
      }
      addReport(done, await settle(scope, inner, only(part, ours)))
      if (replaced) addReport(done, await settleReplaced(scope, inner, only(part, gone)))
    }
    return done
  })
  return { ...report, next }
}

/** What fails is tried again in halves, so that one bad job never holds up the others. */
async function recoverParts(scope: BatchScope, rows: readonly OrphanRow[], claim: Claim): Promise<Part[]> {
  let counted = rows
  try {
    const count = async (jobs: readonly DecidedJob[]): Promise<void> => {
      counted = await countCrashes(scope, claim, rows, jobs)
    }
    return [await carryOut(scope, rows, undefined, count)]
  } catch (error) {
    if (AdapterTimeoutError.is(error) || scope.signal.aborted) throw error
    if (rows.length === 1) return [{ row: rows[0]!, error }]
    const middle = Math.ceil(rows.length / 2)
    const first = await recoverParts(scope, counted.slice(0, middle), claim)
    return [...first, ...(await recoverParts(scope, counted.slice(middle), claim))]
  }
}

function only(part: CarriedOut, ids: ReadonlySet<string>): CarriedOut {
  const kept = part.jobs.map(({ orphan }) => ids.has(orphan.taskId))
  return {
    rows: part.rows.filter(({ id }) => ids.has(id)),
    jobs: part.jobs.filter((_, n) => kept[n]),
    outcomes: part.outcomes.filter((_, n) => kept[n]),
    held: part.held.filter(({ job }) => ids.has(job.orphan.taskId)),
    unreadable: part.unreadable.filter(({ row }) => ids.has(row.id)),
  }
}
