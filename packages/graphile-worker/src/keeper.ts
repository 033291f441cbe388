import type { GuardedPool } from './guarded-pool.js'
import { keepLocks, settleJobs } from './job-sql.js'
import type { GraphileTables } from './tables.js'

/** Milliseconds after which the end of a job should be written; and between looks whether it is. */
const SETTLE_AFTER = 2_000

/** Age in milliseconds at which the lock of a running job is made young again. */
export const KEEP_INTERVAL = 60_000

/** Looks after the jobs of living pools: ends that graphile-worker failed to write, locks that would grow old. */
export class Keeper {
  readonly #tables: GraphileTables
  readonly #pools: ReadonlySet<GuardedPool>
  #timer: NodeJS.Timeout | undefined
  #looking = false

  constructor(tables: GraphileTables, pools: ReadonlySet<GuardedPool>) {
    this.#tables = tables
    this.#pools = pools
  }

  start(): void {
    this.#timer ??= setInterval(() => void this.#look(), SETTLE_AFTER).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Sees to it that what ended at least `ms` milliseconds ago is written. */
  async settle(guarded: GuardedPool, ms: number): Promise<void> {
    const due = guarded.ended.olderThan(ms)
    if (due.length === 0 || guarded.run === undefined) return
    try {
      await settleJobs(guarded.run, this.#tables, due)
      guarded.ended.forget(due)
    } catch {
      // The next look tries again; and when the pool has ended, recovery does.
      guarded.doubtful = true
    }
  }

  async #look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      for (const guarded of this.#pools) {
        await this.settle(guarded, SETTLE_AFTER)
        await this.#keep(guarded)
      }
    } finally {
      this.#looking = false
    }
  }

  async #keep(guarded: GuardedPool): Promise<void> {
    const due = guarded.lockedFor(KEEP_INTERVAL)
    if (due.length === 0 || guarded.run === undefined) return
    try {
      await keepLocks(guarded.run, this.#tables, due)
      guarded.kept(due)
    } catch {
      guarded.doubtful = true // The next look tries again.
    }
  }
}
