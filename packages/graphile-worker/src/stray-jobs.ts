import type { Orphan, RecoveryContext } from '@holdfast/core'
import { giveBackJob, lockedJobs } from './job-sql.js'
import { payloadOf } from './payloads.js'
import type { Run } from './run.js'
import type { GraphileTables } from './tables.js'

/** Milliseconds for which the locks of a dead pool are looked at, and between two looks. */
const WATCHED = 120_000
const INTERVAL = 5_000

interface DeadPool {
  readonly orphan: Orphan
  readonly lockIds: readonly string[]
  readonly since: number
}

/**
 * What dead pools lock after their recovery. A process that was paused for longer than its lease can fetch on waking,
 * before it learns that it was declared dead; killed just then it leaves jobs locked that no row stands for. It cannot
 * have begun them: no job begins after the end of a lease. (One that was declared dead with its lease still running, by
 * hand or by a clock that jumped, can: its jobs are left alone.)
 */
export class StrayJobs {
  readonly #tables: GraphileTables
  readonly #dead = new Map<string, DeadPool>()
  #lookedAt = Number.NEGATIVE_INFINITY

  constructor(tables: GraphileTables) {
    this.#tables = tables
  }

  watch(orphans: readonly Orphan[]): void {
    const since = performance.now()
    for (const orphan of orphans) {
      const leaseIsOver = orphan.orphanedForMs !== null && orphan.orphanedForMs > 0
      if (orphan.cause !== 'crash' || !leaseIsOver) continue
      const payload = payloadOf(orphan)
      if (payload.kind === 'guard') this.#dead.set(orphan.fullId, { orphan, lockIds: payload.lockIds, since })
    }
  }

  /** Gives back what dead pools have locked since they were recovered. Answers the ids. */
  async giveBack(
    run: Run,
    { remaining, registered }: Pick<RecoveryContext, 'remaining' | 'registered'>,
  ): Promise<string[]> {
    const now = performance.now()
    for (const [id, { since }] of this.#dead) if (now - since > WATCHED) this.#dead.delete(id)
    if (this.#dead.size === 0 || now - this.#lookedAt < INTERVAL) return []
    this.#lookedAt = now
    // While a pool's row is there, what it has locked is the recovery's.
    const left = await remaining([...this.#dead.values()].map(({ orphan }) => orphan))
    const lockIds = [...this.#dead].flatMap(([id, pool]) => (left.has(id) ? [] : pool.lockIds))
    if (lockIds.length === 0) return []
    const locked = await lockedJobs(run, this.#tables, lockIds, 0)
    const own = await registered(locked.map(({ id }) => id))
    const strays = locked.filter(({ id }) => !own.has(id))
    for (const job of strays) await giveBackJob(run, this.#tables, job)
    return strays.map(({ id }) => id)
  }
}
