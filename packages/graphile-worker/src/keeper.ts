import type { GuardedPool } from './guarded-pool.js'
import { giveBackJob, keepLocks, lockedJobs, settleJobs } from './job-sql.js'
import type { GraphileTables } from './tables.js'

/** Milliseconds after which the end of a job should be written; and between looks whether it is. */
const SETTLE_AFTER = 2_000

/** Milliseconds after which a failed fetch is over in the database, too. */
const FETCH_OVER = 10_000

/**
 * Looks after the jobs of living pools: ends that graphile-worker failed to write, locks that would grow old, jobs that
 * were fetched and of which the answer was lost.
 */
export class Keeper {
  readonly #tables: GraphileTables
  readonly #pools: ReadonlySet<GuardedPool>
  readonly #hasRow: (guarded: GuardedPool, jobId: string) => Promise<boolean>
  #timer: NodeJS.Timeout | undefined
  #looking = false

  /** @param hasRow whether a job has a row of its own: then that says what becomes of it */
  constructor(
    tables: GraphileTables,
    pools: ReadonlySet<GuardedPool>,
    hasRow: (guarded: GuardedPool, jobId: string) => Promise<boolean>,
  ) {
    this.#tables = tables
    this.#pools = pools
    this.#hasRow = hasRow
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
        await this.#giveBackLost(guarded)
      }
    } finally {
      this.#looking = false
    }
  }

  async #giveBackLost(guarded: GuardedPool): Promise<void> {
    if (guarded.run === undefined || !guarded.hadFailedFetch(FETCH_OVER)) return
    try {
      const locked = await lockedJobs(guarded.run, this.#tables, [...guarded.lockIds], FETCH_OVER)
      for (const job of locked) {
        if ((await this.#hasRow(guarded, job.id)) || !guarded.disown(job)) continue
        await giveBackJob(guarded.run, this.#tables, job, guarded.pauseMs)
      }
      guarded.fetchSettled()
    } catch {
      guarded.doubtful = true // The next look tries again.
    }
  }

  async #keep(guarded: GuardedPool): Promise<void> {
    if (guarded.run === undefined) return
    const { jobs, done } = guarded.jobs.renew()
    if (jobs.length === 0) return
    try {
      await keepLocks(guarded.run, this.#tables, jobs)
      done()
    } catch {
      guarded.doubtful = true // The next look tries again.
    }
  }
}
