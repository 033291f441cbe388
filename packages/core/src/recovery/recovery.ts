import type { QueueAdapter } from '../adapter.js'
import type { PayloadCodec } from '../codec.js'
import type { Events } from '../events.js'
import type { Logger } from '../logger.js'
import type { MonitorConfig } from '../options.js'
import type { OrphanOwner } from '../store/orphans.js'
import type { Store, TransactionStore } from '../store/store.js'
import { recoverAtomically } from './atomic.js'
import type { Batch } from './batch.js'
import { recoverClaimed } from './claimed.js'
import type { BatchReport } from './settle.js'

export interface RecoveryCounts {
  readonly recovered: number
  readonly quarantined: number
  readonly failed: number
}

export const noCounts: RecoveryCounts = { recovered: 0, quarantined: 0, failed: 0 }

export const addCounts = (a: RecoveryCounts, b: RecoveryCounts): RecoveryCounts => ({
  recovered: a.recovered + b.recovered,
  quarantined: a.quarantined + b.quarantined,
  failed: a.failed + b.failed,
})

export interface RecoverOptions {
  readonly adapter: QueueAdapter
  /** Asked before each batch how many tasks it may take; 0 ends the recovery. @default batchSize */
  readonly before?: () => Promise<number>
  /** Told after each batch how many jobs it made runnable. */
  readonly after?: (jobs: number) => void
  /** Asked at the start of each batch's transaction; false makes the batch do nothing. */
  readonly within?: (store: TransactionStore) => Promise<boolean>
  readonly signal?: AbortSignal
}

export interface RecoveryParts {
  readonly store: Store
  readonly config: MonitorConfig
  readonly codec: PayloadCodec | undefined
  readonly events: Events
  readonly logger: Logger
  /** Who recovers, for claims and the history. */
  byProcess(): string
}

/** Recovers what a dead or released process left behind, batch by batch, and tells what happened. */
export class Recovery {
  readonly #parts: RecoveryParts

  constructor(parts: RecoveryParts) {
    this.#parts = parts
  }

  async recoverOwner(owner: OrphanOwner, options: RecoverOptions): Promise<RecoveryCounts> {
    const { config } = this.#parts
    const { adapter, before = async () => config.batchSize, within = async () => true } = options
    const { signal = new AbortController().signal } = options
    const scope = { ...this.#parts, byProcess: this.#parts.byProcess(), adapter, owner, signal }
    const recoverBatch = adapter.capabilities.atomicRecovery ? recoverAtomically : recoverClaimed
    let counts = noCounts
    let after: number | undefined = 0
    while (after !== undefined) {
      const limit = signal.aborted ? 0 : await before()
      if (limit === 0) break
      const batch: Batch = await recoverBatch(scope, after, limit, within)
      this.tell(batch)
      options.after?.(batch.recovered.length)
      const { recovered, quarantined, failed } = batch
      counts = addCounts(counts, {
        recovered: recovered.length,
        quarantined: quarantined.length,
        failed: failed.length,
      })
      after = batch.next
    }
    return counts
  }

  /** Emits what happened, once it has. */
  tell({ recovered, quarantined, failed }: BatchReport): void {
    const { events } = this.#parts
    for (const event of recovered) events.emit('recovered', event)
    for (const event of quarantined) events.emit('quarantined', event)
    for (const event of failed) events.emit('recoveryFailed', event)
  }
}
