import type { Transaction } from 'kysely'
import type { QueueAdapter } from './adapter.js'
import { AdapterTimeoutError } from './errors.js'
import type { Events } from './events.js'
import type { Logger } from './logger.js'
import type { MonitorConfig } from './options.js'
import { inAdapterTransaction, SILENCE_MARGIN } from './recovery/adapter-transaction.js'
import { answered } from './recovery/answered.js'
import { contextOf } from './recovery/context.js'
import { type HeldLock, holdsLock } from './store/locks.js'
import type { Store } from './store/store.js'
import { withTimeout } from './timeout.js'

export interface UpkeepParts {
  readonly store: Store
  readonly config: MonitorConfig
  readonly events: Events
  readonly logger: Logger
  readonly adapter: QueueAdapter
}

/** Has an adapter do what it does for its queue besides recovering. Its trouble is not the sweep's. */
export class Upkeep {
  readonly #parts: UpkeepParts
  /** A transaction has not ended yet. */
  #open = false

  constructor(parts: UpkeepParts) {
    this.#parts = parts
  }

  /** @param begin answers the signal that ends it; undefined: the lock is another's by now */
  async run(held: HeldLock, begin: () => Promise<AbortSignal | undefined>): Promise<void> {
    const { adapter, store, events } = this.#parts
    if (adapter.onSweep === undefined) return
    try {
      const signal = await begin()
      if (signal === undefined) return
      if (adapter.capabilities.atomicRecovery) await this.#inTransaction(held, signal)
      else await this.#call(store, signal)
    } catch (error) {
      events.fail(`the upkeep of ${JSON.stringify(adapter.name)} failed`, error)
    }
  }

  /** Ended by this process even where the connection doesn't answer: a statement can wait for a lock for ever. */
  async #inTransaction(held: HeldLock, signal: AbortSignal): Promise<void> {
    const { store, config, adapter } = this.#parts
    if (this.#open) return // A second one would only wait behind it, and for a connection more.
    this.#open = true
    const work = inAdapterTransaction(store, config, async (inner) => {
      if (await holdsLock(inner, held)) await this.#call(inner, signal, inner.db)
    }).finally(() => {
      this.#open = false
    })
    const what = `adapter ${JSON.stringify(adapter.name)} ends its transaction`
    await withTimeout(work, config.gcLockTtl + SILENCE_MARGIN, what, AdapterTimeoutError)
  }

  async #call(store: Store, signal: AbortSignal, trx?: Transaction<unknown>): Promise<void> {
    const { adapter, logger } = this.#parts
    const context = contextOf({ store, adapter, logger, signal }, trx)
    await answered(this.#parts, 'keeps its queue up', Promise.resolve(adapter.onSweep!(context)))
  }
}
