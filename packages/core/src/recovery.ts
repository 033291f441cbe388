import type { QueueAdapter } from './adapter.js'
import type { Events } from './events.js'
import type { Logger } from './logger.js'
import type { MonitorConfig } from './options.js'
import { type Batch, recoverBatch } from './recovery-batch.js'
import type { BatchReport } from './settle.js'
import type { Store, TransactionStore } from './store/store.js'
import type { OrphanOwner } from './store/tasks.js'

export interface RecoveryCounts {
  readonly recovered: number
  readonly quarantined: number
  readonly failed: number
}

export interface RecoverOptions {
  readonly adapters: readonly QueueAdapter[]
  /** Asked before each batch; false ends the recovery. */
  readonly before?: () => Promise<boolean>
  /** Asked at the start of each batch's transaction; false makes the batch do nothing. */
  readonly within?: (store: TransactionStore) => Promise<boolean>
}

/** Recovers what a dead or released process left behind, batch by batch, and tells what happened. */
export class Recovery {
  readonly #store: Store
  readonly #config: MonitorConfig
  readonly #events: Events
  readonly #logger: Logger
  readonly #byProcess: () => string

  constructor(store: Store, config: MonitorConfig, events: Events, logger: Logger, byProcess: () => string) {
    this.#store = store
    this.#config = config
    this.#events = events
    this.#logger = logger
    this.#byProcess = byProcess
  }

  async recoverOwner(owner: OrphanOwner, options: RecoverOptions): Promise<RecoveryCounts> {
    const { adapters, before, within = async () => true } = options
    const scope = {
      store: this.#store,
      config: this.#config,
      logger: this.#logger,
      byProcess: this.#byProcess(),
      adapters: new Map(adapters.map((adapter) => [adapter.name, adapter])),
    }
    const counts = { recovered: 0, quarantined: 0, failed: 0 }
    let after: string | undefined = ''
    while (after !== undefined) {
      if (before !== undefined && !(await before())) break
      const batch: Batch = await recoverBatch(scope, owner, after, within)
      this.#tell(batch)
      counts.recovered += batch.recovered.length
      counts.quarantined += batch.quarantined.length
      counts.failed += batch.failed.length
      after = batch.next
    }
    return counts
  }

  #tell({ recovered, quarantined, failed }: BatchReport): void {
    for (const event of recovered) this.#events.emit('recovered', event)
    for (const event of quarantined) this.#events.emit('quarantined', event)
    for (const event of failed) this.#events.emit('recoveryFailed', event)
  }
}
