import { randomUUID } from 'node:crypto'
import { monotonicNow } from '../clock.js'
import { AdapterTimeoutError } from '../errors.js'
import { type Claim, claimOrphans, lockClaimed, lockOrphans, type OrphanRow } from '../store/orphans.js'
import { isAlive } from '../store/processes.js'
import { inTransaction, type TransactionStore } from '../store/store.js'
import { type Batch, type BatchScope, type CarriedOut, carryOut } from './batch.js'
import { countCrashes, marksOf } from './count-crashes.js'
import { endedAside } from './ended.js'
import { renameOrphan } from './rename.js'
import { addReport, emptyReport, postpone, settle, settleReplaced } from './settle.js'

interface ClaimedScope extends BatchScope {
  readonly claim: Claim
  readonly renamed: ReadonlyMap<number, string>
  /** What this recovery has marked rows with, by their nonce. */
  readonly marked: Map<number, number>
}

type Part = CarriedOut | { readonly row: OrphanRow; readonly error: unknown }

/**
 * Recovers the next orphans of one owner where the queue is elsewhere, in two phases: the rows are claimed with a token
 * and an expiry, the adapter recovers them, and only then do they end. Whoever dies in between leaves a claim that
 * others take up; they call the adapter again with the same `recoveryId`, which it answers without doing it again.
 */
export async function recoverClaimed(
  scope: BatchScope,
  after: number,
  limit: number,
  mayGoOn: (store: TransactionStore) => Promise<boolean>,
): Promise<Batch> {
  const { config, adapter, owner, byProcess, store } = scope
  const claim: Claim = { by: byProcess, token: randomUUID() }
  const begun = monotonicNow()
  const late = AbortSignal.timeout(Math.max(0, Math.floor(config.gcLockTtl - config.safetyMargin)))
  const { rows, next } = await inTransaction(store, async (inner) => {
    if (!(await mayGoOn(inner))) return { rows: [], next: undefined }
    const found = await lockOrphans(inner, { owner: owner.processId, queue: adapter.name, after, limit })
    const left = await endedAside(scope, inner, found)
    const nonces = left.map(({ nonce }) => nonce)
    await claimOrphans(inner, { owner: owner.processId, nonces, claim, ttl: config.gcLockTtl })
    return { rows: left, next: found.length < limit ? undefined : found.at(-1)!.nonce }
  })
  if (rows.length === 0) return { ...emptyReport(), next }
  const signal = AbortSignal.any([scope.signal, late])
  const claimed = claimedScope({ ...scope, signal }, claim)
  const parts = await recoverParts(claimed, rows)
  const report = await inTransaction(store, async (inner) => {
    const done = emptyReport()
    const nonces = rows.map(({ nonce }) => nonce)
    // Those whose claim was taken over are the other's to write down.
    const { ours, gone } = await lockClaimed(inner, { owner: owner.processId, nonces, claim })
    // While this process counts as alive nobody else takes its claims up: what is gone was replaced by its job's next run.
    const inTime = monotonicNow() - begun < config.orphanThreshold - config.safetyMargin && !signal.aborted
    const replaced = gone.size > 0 && inTime && (await isAlive(inner, byProcess))
    for (const part of parts) {
      if ('error' in part) {
        if (ours.has(part.row.nonce)) done.failed.push(await postpone(scope, inner, part.row, part.error))
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
  const renamed = new Map<number, string>()
  return {
    ...scope,
    claim,
    renamed,
    marked: new Map(),
    async rename(orphan, jobRef) {
      await renameOrphan(scope.store, orphan, claim, jobRef)
      renamed.set(orphan.nonce, jobRef)
    },
  }
}

/** A row as this recovery has left it since it was read. */
const current = ({ renamed, marked }: ClaimedScope, row: OrphanRow): OrphanRow => ({
  ...row,
  jobRef: renamed.get(row.nonce) ?? row.jobRef,
  crashes: marked.get(row.nonce) ?? row.crashes,
})

/** What fails is tried again in halves, so that one bad job never holds up the others. */
async function recoverParts(scope: ClaimedScope, rows: readonly OrphanRow[]): Promise<Part[]> {
  try {
    return [
      await carryOut(scope, rows, undefined, async (jobs) => {
        const counted = await countCrashes(scope, scope.claim, jobs)
        for (const [nonce, mark] of marksOf(counted)) scope.marked.set(nonce, mark)
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

function only(scope: ClaimedScope, part: CarriedOut, nonces: ReadonlySet<number>): CarriedOut {
  const kept = part.jobs.map(({ orphan }) => nonces.has(orphan.nonce))
  return {
    rows: part.rows.filter(({ nonce }) => nonces.has(nonce)).map((row) => current(scope, row)),
    jobs: part.jobs.filter((_, n) => kept[n]),
    outcomes: part.outcomes.filter((_, n) => kept[n]),
    counted: part.counted,
    held: part.held.filter(({ job }) => nonces.has(job.orphan.nonce)),
    unreadable: part.unreadable.filter(({ row }) => nonces.has(row.nonce)),
  }
}
