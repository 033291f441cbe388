import type { QueueAdapter } from './adapter.js'
import { monotonicNow, sleep } from './clock.js'
import type { Events } from './events.js'
import type { Incarnation } from './incarnation.js'
import type { Logger } from './logger.js'
import type { MonitorConfig } from './options.js'
import type { Recovery, RecoveryCounts } from './recovery.js'
import { pruneCrashes } from './store/crashes.js'
import { pruneRecoveries } from './store/history.js'
import { acquireLock, ensureLock, gcLockName, holdsLock, releaseLock, renewLock } from './store/locks.js'
import { deleteEmptyProcesses, fenceExpired } from './store/processes.js'
import type { Store, TransactionStore } from './store/store.js'
import { countOtherQueues, type OrphanOwner, orphanOwners } from './store/tasks.js'

export interface SweeperParts {
  readonly store: Store
  readonly config: MonitorConfig
  readonly events: Events
  readonly logger: Logger
  readonly recovery: Recovery
  readonly adapter: QueueAdapter
  /** Every queue this process has an adapter for. */
  readonly queues: readonly string[]
  current(): Incarnation
}

/** Milliseconds between prunings: they read whole tables. */
const PRUNE_INTERVAL = 3_600_000

/** Sweeps one queue, whenever it gets the queue's GC lock, from `start` to `stop`. */
export class Sweeper {
  readonly #parts: SweeperParts
  readonly #lock: string
  readonly #stopping = new AbortController()
  #loop: Promise<void> | undefined
  #prunedAt = Number.NEGATIVE_INFINITY

  constructor(parts: SweeperParts) {
    this.#parts = parts
    this.#lock = gcLockName(parts.adapter.name)
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

  async #sweep(
    incarnation: Incarnation,
    held: { name: string; holder: string; term: number },
    acquiredAt: number,
  ): Promise<void> {
    const { store, config, events, recovery, adapter, queues } = this.#parts
    const startedAt = monotonicNow()
    const counts = { recovered: 0, quarantined: 0, failed: 0 }
    let trustedUntil = acquiredAt + config.gcLockTtl - config.safetyMargin

    /** Renews the lock where half of its time is over; false when this sweep must end. */
    const renew = async (): Promise<boolean> => {
      if (this.#stopping.signal.aborted || incarnation.ended || incarnation.lease.expired) return false
      const sentAt = monotonicNow()
      if (sentAt >= trustedUntil) return false
      if (trustedUntil - sentAt > config.gcLockTtl / 2) return true
      if (!(await renewLock(store, { ...held, ttl: config.gcLockTtl }))) return false
      trustedUntil = sentAt + config.gcLockTtl - config.safetyMargin
      return true
    }

    const { processId, lease } = incarnation
    const { heartbeatInterval } = config
    const judge = { processId, heartbeatInterval, gapFreeMs: lease.gapFreeFor(), beatAgeMs: lease.age() }
    const mayJudge = (threshold: number): boolean => lease.confirmed && lease.gapFreeFor() >= threshold
    const fenced = await fenceExpired(store, judge, mayJudge)
    for (const owner of await orphanOwners(store)) {
      const within = (inner: TransactionStore): Promise<boolean> => holdsLock(inner, held)
      try {
        const done = await recovery.recoverOwner(owner, { adapters: [adapter], before: renew, within })
        counts.recovered += done.recovered
        counts.quarantined += done.quarantined
        counts.failed += done.failed
        this.#log(owner, done)
      } catch (error) {
        // One owner's trouble must not keep the others from being recovered.
        events.fail(`could not recover the tasks of ${owner.processId}; the next sweep tries again`, error)
      }
      if (!(await renew())) break
      for (const other of await countOtherQueues(store, owner.processId, queues)) {
        events.emit('unknownQueue', other)
      }
    }
    await deleteEmptyProcesses(store)
    await this.#prune()
    events.emit('sweep', { queue: adapter.name, fenced, ...counts, durationMs: monotonicNow() - startedAt })
  }

  #log({ processId, state }: OrphanOwner, { recovered, quarantined, failed }: RecoveryCounts): void {
    if (recovered + quarantined + failed === 0) return
    this.#parts.logger.warn(
      `process ${processId} ${state === null ? 'is gone' : `is ${state}`}: ` +
        `${recovered} jobs recovered, ${quarantined} quarantined, ${failed} failed and kept`,
    )
  }

  async #prune(): Promise<void> {
    if (monotonicNow() - this.#prunedAt < PRUNE_INTERVAL) return
    const { store, config } = this.#parts
    this.#prunedAt = monotonicNow()
    await pruneCrashes(store, config.crashWindow)
    await pruneRecoveries(store, config.historyRetention)
  }
}
