import type { Evidence, LedgerEntry, RecoveryEntry, Remains } from '../database/evidence.js'
import type { HeldJob } from '../database/held.js'

/** The part of a kill that a verdict needs. */
export interface KilledProcess {
  readonly processId: string | null
  readonly held: readonly Pick<HeldJob, 'job'>[]
}

/** Job numbers, by what became of them. */
export interface Verdict {
  readonly finished: readonly number[]
  /** In flight in the killed process, and runnable again afterwards. */
  readonly recovered: readonly number[]
  /** Never finished. */
  readonly lost: readonly number[]
  /** Made runnable more than once for one death, or started more often than its recoveries and failures explain. */
  readonly recoveredTwice: readonly number[]
  /** Finished again although the process that had finished it was not declared dead. */
  readonly finishedTwice: readonly number[]
  /** In flight in the killed process, and neither recovered nor known to have finished there. */
  readonly notRecovered: readonly number[]
  /** Recovered from the killed process, though it held no such job; null for a job that the demo doesn't know. */
  readonly recoveredForNothing: readonly (number | null)[]
  /**
   * Recovered though the killed process had finished it: it died before its queue could hear of it. That such a job
   * runs again is at-least-once execution and no fault.
   */
  readonly finishedByTheDead: readonly number[]
  readonly remains: Remains
}

/** Judges by what is in the database, and nothing else. */
export function judge({ jobs, ledger, recoveries, remains }: Evidence, killed: KilledProcess): Verdict {
  const all = jobs.map(({ job }) => job)
  const held = killed.held.map(({ job }) => job)
  const entries = groupByJob(ledger)
  const requeues = groupByJob(recoveries.filter(({ outcome }) => outcome === 'requeued'))
  const ofTheDead = recoveries.filter(({ fromProcess }) => fromProcess === killed.processId)
  const recovered = new Set(ofTheDead.filter(isRequeue).map(({ job }) => job))
  const settled = new Set(ofTheDead.filter(({ outcome }) => outcome === 'finished').map(({ job }) => job))
  const finishesOf = (job: number) => (entries.get(job) ?? []).filter(({ what }) => what === 'finish')

  const finishedThere = (job: number): boolean =>
    finishesOf(job).some(({ processId }) => processId === killed.processId)

  return {
    finished: all.filter((job) => finishesOf(job).length > 0),
    lost: all.filter((job) => finishesOf(job).length === 0),
    recovered: held.filter((job) => recovered.has(job)),
    notRecovered: held.filter((job) => !recovered.has(job) && !(settled.has(job) && finishedThere(job))),
    recoveredForNothing: ofTheDead.map(({ job }) => job).filter((job) => job === null || !held.includes(job)),
    recoveredTwice: all.filter((job) => isRecoveredTwice(entries.get(job) ?? [], requeues.get(job) ?? [])),
    finishedTwice: all.filter((job) => isFinishedTwice(finishesOf(job), requeues.get(job) ?? [])),
    finishedByTheDead: held.filter((job) => recovered.has(job) && finishedThere(job)),
    remains,
  }
}

const isRequeue = ({ outcome }: RecoveryEntry): boolean => outcome === 'requeued'

const RELEASED = 'released:'
const ownerOf = ({ fromProcess }: RecoveryEntry): string =>
  fromProcess.startsWith(RELEASED) ? fromProcess.slice(RELEASED.length) : fromProcess

function isRecoveredTwice(entries: readonly LedgerEntry[], requeues: readonly RecoveryEntry[]): boolean {
  const dead = requeues.filter(({ fromProcess }) => !fromProcess.startsWith(RELEASED))
  if (new Set(dead.map(({ fromProcess }) => fromProcess)).size < dead.length) return true
  // Each requeue allows one start after it, up to the next one, and so does each failure: graphile-worker retries it.
  const times = [Number.NEGATIVE_INFINITY, ...requeues.map(({ at }) => at), Number.POSITIVE_INFINITY]
  return times.slice(0, -1).some((from, index) => {
    const until = times[index + 1]!
    const during = entries.filter(({ at }) => at > from && at <= until)
    const gone = new Set(requeues.slice(0, index).map(ownerOf))
    // A process that was declared dead while it only stood still may write a late start; nobody can prevent that.
    const starts = during.filter(({ what, processId }) => what === 'start' && !gone.has(processId ?? ''))
    return starts.length > 1 + during.filter(({ what }) => what === 'fail').length
  })
}

function isFinishedTwice(finishes: readonly LedgerEntry[], requeues: readonly RecoveryEntry[]): boolean {
  const explanations = [...requeues]
  return finishes.slice(0, -1).some(({ processId, at }) => {
    const index = explanations.findIndex((requeue) => ownerOf(requeue) === processId && requeue.at >= at)
    if (index < 0) return true
    explanations.splice(index, 1)
    return false
  })
}

function groupByJob<T extends { readonly job: number | null }>(rows: readonly T[]): Map<number, T[]> {
  const groups = new Map<number, T[]>()
  for (const row of rows) {
    if (row.job === null) continue
    const group = groups.get(row.job)
    if (group === undefined) groups.set(row.job, [row])
    else group.push(row)
  }
  return groups
}
