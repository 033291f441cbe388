import type { Entry } from './ledger.js'

/** From one entry to another, by their places in the ledger. */
export interface Interval {
  readonly worker: number | undefined
  readonly from: number
  readonly to: number
}

/** What begins harm to a worker, and what ends it. */
const TO_WORKERS = { killing: 'killed', pausing: 'resumed', stopping: 'stopped' }

/** From each entry named by a key of `ends` to the next of the value's name about the same worker, or for ever. */
export function intervals(entries: readonly Entry[], ends: Readonly<Record<string, string>>): Interval[] {
  return entries.flatMap(({ what, worker }, from) => {
    if (!(what in ends)) return []
    const to = entries.findIndex(
      (entry, at) => at > from && entry.what === ends[what] && entry.worker === worker,
    )
    return [{ worker, from, to: to === -1 ? Number.POSITIVE_INFINITY : to }]
  })
}

export const harmToWorkers = (entries: readonly Entry[]): Interval[] => intervals(entries, TO_WORKERS)

export const overlaps = (interval: Interval, from: number, to: number): boolean =>
  interval.to > from && interval.from < to
