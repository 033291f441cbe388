import type { Evidence } from '../database/evidence.js'
import type { Kill } from '../kill.js'

/** Milliseconds from the SIGKILL on, by the database's clock; null for what never happened. */
export interface Times {
  /** The first job of the killed process was recovered. */
  readonly detectionMs: number | null
  /** The last one was. */
  readonly recoveredMs: number | null
  /** The last one had started again in another process. */
  readonly rerunMs: number | null
  /** The last job of all finished. */
  readonly finishedMs: number | null
}

export function timesOf(
  { ledger, recoveries }: Evidence,
  kill: Pick<Kill, 'processId' | 'at' | 'held'>,
): Times {
  const recovered = new Map<number, number>()
  for (const { job, fromProcess, outcome, at } of recoveries) {
    if (job !== null && fromProcess === kill.processId && outcome === 'requeued') recovered.set(job, at)
  }
  const restarts = kill.held.map(({ job }) => {
    const since = recovered.get(job) ?? Number.POSITIVE_INFINITY
    return ledger.find((entry) => entry.job === job && entry.what === 'start' && entry.at > since)?.at
  })
  const since = (times: readonly number[], pick: (a: number, b: number) => number): number | null =>
    times.length === 0 ? null : Math.round(times.reduce((a, b) => pick(a, b)) - kill.at)
  const started = restarts.filter((at) => at !== undefined)
  return {
    detectionMs: since([...recovered.values()], Math.min),
    recoveredMs: since([...recovered.values()], Math.max),
    rerunMs: started.length < restarts.length ? null : since(started, Math.max),
    finishedMs: since(
      ledger.filter(({ what }) => what === 'finish').map(({ at }) => at),
      Math.max,
    ),
  }
}
