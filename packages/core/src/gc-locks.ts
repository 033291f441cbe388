import type { MonitorConfig } from './options.js'
import { acquireLock, ensureLock, gcLockName, type HeldLock, releaseLock } from './store/locks.js'
import type { Store } from './store/store.js'

/** GC locks taken by hand. */
export class GcLocks {
  readonly #store: Store
  readonly #config: MonitorConfig
  readonly #held = new Map<string, HeldLock>()

  constructor(store: Store, config: MonitorConfig) {
    this.#store = store
    this.#config = config
  }

  async acquire(queue: string, holder: string): Promise<boolean> {
    const { gcLockTtl: ttl, sweepInterval: interval } = this.#config
    const name = gcLockName(queue)
    await ensureLock(this.#store, name)
    const { term } = await acquireLock(this.#store, { name, holder, ttl, interval })
    if (term === undefined) return false
    this.#held.set(queue, { name, holder, term })
    return true
  }

  async release(queue: string): Promise<boolean> {
    const held = this.#held.get(queue)
    if (held === undefined) return false
    const released = await releaseLock(this.#store, held)
    this.#held.delete(queue)
    return released
  }
}
