import { randomUUID } from 'node:crypto'
import { monotonicNow } from '../clock.js'
import { AdapterTimeoutError } from '../errors.js'
import { isAlive } from '../store/processes.js'
import { inTransaction, type TransactionStore } from '../store/store.js'
import { type Claim, claimOrphans, lockClaimed, lockOrphans, type OrphanRow } from '../store/tasks.js'
import { type Batch, type BatchScope, type CarriedOut, carryOut } from './batch.js'
import { countCrashes, marksOf } from './count-crashes.js'
import { renameOrphan } from './rename.js'
import { addReport, emptyReport, postpone, settle, settleReplaced } from './settle.js'

interface ClaimedScope extends BatchScope {
  readonly claim: Claim
  readonly renamed: ReadonlyMap<string, string>
  /** What this recovery has marked rows with, by their id. */
  readonly marked: Map<string, number>
}

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
  const late = AbortSignal.timeout(Math.max(0, Math.floor(config.gcLockTtl - config.safetyMargin)))
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
  const claimed = claimedScope({ ...scope, signal }, claim)
  const parts = await recoverParts(claimed, rows)
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
      addReport(done, await settle(claimed, inner, only(claimed, part, ours)))
      if (replaced) addReport(done, await settleReplaced(claimed, inner, only(claimed, part, gone)))
    }
    return done
  })
  return { ...report, next }
}

function claimedScope(scope: BatchScope, claim: Claim): ClaimedScope {
  const renamed = new Map<string, string>()
  return {
    ...scope,
    claim,
    renamed,
    marked: new Map(),
    async rename(orphan, jobRef) {
      await renameOrphan(scope.store, orphan, claim, jobRef)
      renamed.set(orphan.taskId, jobRef)
    },
  }
}

/** A row as this recovery has left it since it was read. */
const current = ({ renamed, marked }: ClaimedScope, row: OrphanRow): OrphanRow => ({
  ...row,
  jobRef: renamed.get(row.id) ?? row.jobRef,
  crashes: marked.get(row.id) ?? row.crashes,
})

/** What fails is tried again in halves, so that one bad job never holds up the others. */
async function recoverParts(scope: ClaimedScope, rows: readonly OrphanRow[]): Promise<Part[]> {
  try {
    return [
      await carryOut(scope, rows, undefined, async (jobs) => {
        const counted = await countCrashes(scope, scope.claim, jobs)
        for (const [id, mark] of marksOf(counted)) scope.marked.set(id, mark)
        return counted
      }),
    ]
  } catch (error) {
    if (AdapterTimeoutError.is(error) || scope.signal.aborted) throw error
    const left = rows.map((row) => current(scope, row))
    if (left.length === 1) return [{ row: left[0]!, error }]
    const middle = Math.ceil(left.length / 2)
    const first = await recoverParts(scope, left.slice(0, middle))
    return [...first, ...(await recoverParts(scope, left.slice(middle)))]
  }
}

function only(scope: ClaimedScope, part: CarriedOut, ids: ReadonlySet<string>): CarriedOut {
  const kept = part.jobs.map(({ orphan }) => ids.has(orphan.taskId))
  return {
    rows: part.rows.filter(({ id }) => ids.has(id)).map((row) => current(scope, row)),
    jobs: part.jobs.filter((_, n) => kept[n]),
    outcomes: part.outcomes.filter((_, n) => kept[n]),
    counted: part.counted,
    held: part.held.filter(({ job }) => ids.has(job.orphan.taskId)),
    unreadable: part.unreadable.filter(({ row }) => ids.has(row.id)),
  }
}
