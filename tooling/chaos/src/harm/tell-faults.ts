import type { Entry } from './ledger.js'

export interface TellOptions {
  readonly entries: readonly Entry[]
  /** Ids of jobs, by what is wrong with them. */
  readonly faults: Readonly<Record<string, readonly string[]>>
  /** What happened to all. */
  readonly toAll: readonly string[]
  readonly log: (text: string) => void
}

/** Most jobs of each fault whose history is told. */
const MOST = 5

/** Tells people what the ledger has of the jobs at fault, and of harm to those who ran them. */
export function tellFaults({ entries, faults, toAll, log }: TellOptions): void {
  for (const [fault, ids] of Object.entries(faults)) {
    for (const id of ids.slice(0, MOST)) log([`${fault}: ${id}`, ...history(entries, id, toAll)].join('\n'))
  }
}

function history(entries: readonly Entry[], id: string, toAll: readonly string[]): string[] {
  const own = entries.filter(({ job }) => job === id)
  const pids = new Set(own.map(({ pid }) => pid))
  const between = entries.slice(entries.indexOf(own[0]!), entries.indexOf(own.at(-1)!) + 1)
  return between
    .filter(({ job, worker, what }) => job === id || pids.has(worker) || toAll.includes(what))
    .map(({ what, worker, pid, at }) => `  ${at! - own[0]!.at!} ms: ${what} (${worker ?? pid})`)
}
