import type { QueueAdapter } from './adapter.js'
import { monotonicNow, sleep } from './clock.js'
import type { Incarnation } from './incarnation.js'
import { Pace } from './recovery/pace.js'
import { pruneCrashes } from './store/crashes.js'
import { pruneRecoveries } from './store/history.js'
import {
  acquireLock,
  ensureLock,
  gcLockName,
  type HeldLock,
  holdsLock,
  releaseLock,
  renewLock,
} from './store/locks.js'
import type { TransactionStore } from './store/store.js'
import { type SweepParts, sweep } from './sweep.js'
import { Upkeep } from './upkeep.js'

export interface SweeperParts extends SweepParts {
  readonly adapter: QueueAdapter
  current(): Incarnation
}

/** Milliseconds between prunings: they read whole tables. */
const PRUNE_INTERVAL = 3_600_000

/** Sweeps one queue, whenever it gets the queue's GC lock, from `start` to `stop`. */
export class Sweeper {
  readonly #parts: SweeperParts
  readonly #lock: string
  readonly #stopping = new AbortController()
  readonly #pace: Pace
  readonly #upkeep: Upkeep
  #loop: Promise<void> | undefined
  #prunedAt = Number.NEGATIVE_INFINITY

  constructor(parts: SweeperParts) {
    this.#parts = parts
    this.#lock = gcLockName(parts.adapter.name)
    this.#pace = new Pace(parts.config)
    this.#upkeep = new Upkeep(parts)
  }

  async start(): Promise<void> {
    await ensureLock(this.#parts.store, this.#lock)
    this.#loop = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#loop
  }

  async #run(): Promise<void> {
    const { config, events, adapter } = this.#parts
    let pause = config.sweepInterval * Math.random()
    while (!this.#stopping.signal.aborted) {
      await sleep(pause, this.#stopping.signal)
      if (this.#stopping.signal.aborted) return
      pause = config.sweepInterval * (1 + 0.2 * Math.random())
      try {
        const waitMs = await this.#try()
        // Whoever was refused comes back when the lock can be had, so that a lone process sweeps at every interval.
        if (waitMs > 0)
          pause = Math.min(waitMs, config.sweepInterval) + 0.2 * config.sweepInterval * Math.random()
      } catch (error) {
        this.#parts.current().lease.interrupt() // Whoever can't reach the database can't judge who else could not.
        events.fail(`the sweep of ${JSON.stringify(adapter.name)} failed`, error)
      }
    }
  }

  /** Sweeps if the lock can be had; answers how long to wait otherwise. */
  async #try(): Promise<number> {
    const { store, config, current } = this.#parts
    const incarnation = current()
    if (!incarnation.lease.confirmed) return 0
    const holder = incarnation.processId
    const { gcLockTtl: ttl, sweepInterval: interval } = config
    const sentAt = monotonicNow()
    const { term, waitMs } = await acquireLock(store, { name: this.#lock, holder, ttl, interval })
    if (term === undefined) return waitMs
    const held = { name: this.#lock, holder, term }
    try {
      await this.#sweep(incarnation, held, sentAt)
    } finally {
      await releaseLock(store, held)
    }
    return 0
  }

  async #sweep(incarnation: Incarnation, held: HeldLock, acquiredAt: number): Promise<void> {
    const { store, config, events, adapter } = this.#parts
    const startedAt = monotonicNow()
    let trustedUntil = acquiredAt + config.gcLockTtl - config.safetyMargin
    let ranOut = false
    const errors = events.counts().error

    /** Renews the lock when it has less than `enough` ms left; false when this sweep must end. */
    const renew = async (enough = config.gcLockTtl / 2): Promise<boolean> => {
      if (incarnation.ended || incarnation.lease.expired) return false
      const sentAt = monotonicNow()
      ranOut ||= sentAt >= trustedUntil
      if (ranOut) return false
      if (trustedUntil - sentAt > enough) return true
      if (!(await renewLock(store, { ...held, ttl: config.gcLockTtl }))) return false
      trustedUntil = sentAt + config.gcLockTtl - config.safetyMargin
      return true
    }

    const counts = await sweep(this.#parts, incarnation, {
      adapters: [adapter],
      signal: this.#stopping.signal,
      before: async () => ((await renew()) ? Math.min(config.batchSize, this.#pace.left) : 0),
      after: (jobs) => this.#pace.spend(jobs),
      within: (inner: TransactionStore) => holdsLock(inner, held),
    })
    await this.#upkeep.run(held, async () => {
      const { signal } = this.#stopping
      if (signal.aborted || !(await renew(config.gcLockTtl))) return undefined
      const left = Math.max(0, Math.floor(trustedUntil - monotonicNow()))
      return AbortSignal.any([signal, AbortSignal.timeout(left)])
    })
    await this.#prune()
    // What has used up the time has mostly said so by itself.
    if (ranOut && events.counts().error === errors) {
      const { gcLockTtl, safetyMargin } = config
      const why = new Error(
        `gcLockTtl (${gcLockTtl}) - safetyMargin (${safetyMargin}) ms were too few for one step of it`,
      )
      events.fail(
        `the sweep of ${JSON.stringify(adapter.name)} ended with its lock; the next one goes on`,
        why,
      )
    }
    events.emit('sweep', { queue: adapter.name, ...counts, durationMs: monotonicNow() - startedAt })
  }

  async #prune(): Promise<void> {
    if (monotonicNow() - this.#prunedAt < PRUNE_INTERVAL) return
    const { store, config } = this.#parts
    this.#prunedAt = monotonicNow()
    await pruneCrashes(store, config.crashWindow)
    await pruneRecoveries(store, config.historyRetention)
  }
}
