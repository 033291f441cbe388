import type { QueueAdapter } from './adapter.js'
import type { Events } from './events.js'
import { findAdapter } from './find-adapter.js'
import type { Monitor } from './monitor.js'

/** The adapters of a monitor, and what they are told of its life. */
export class Adapters {
  readonly all: readonly QueueAdapter[]
  readonly #events: Events

  constructor(all: readonly QueueAdapter[], events: Events) {
    this.all = all
    this.#events = events
  }

  /** @throws ConfigError for an unknown queue */
  find(queue?: string): QueueAdapter {
    return findAdapter(this.all, queue)
  }

  /** One after the other; throws what the first one that fails throws. */
  async start(monitor: Monitor): Promise<void> {
    for (const adapter of this.all) await adapter.onStart?.(monitor)
  }

  /** Not awaited: an adapter may wait for handlers, and the heart must beat meanwhile. */
  tellEvicted(monitor: Monitor): void {
    for (const adapter of this.all)
      void this.#tell(adapter, 'after an eviction', () => adapter.onEvicted?.(monitor))
  }

  /** Side by side. @param over aborts when the drain is over */
  async stop(monitor: Monitor, over: AbortSignal): Promise<void> {
    await Promise.all(
      this.all.map((adapter) => this.#tell(adapter, 'to stop', () => adapter.onStop?.(monitor, over))),
    )
  }

  async #tell({ name }: QueueAdapter, what: string, work: () => void | Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#events.fail(`adapter ${JSON.stringify(name)} failed ${what}`, error)
    }
  }
}
