import type { Leave } from './isolation.js'
import type { Handle } from './task-handle.js'

/** What this process keeps of a task in flight beside its row. */
export class InFlight {
  readonly controller = new AbortController()
  /** Undefined until its row is written. */
  handle: Handle | undefined
  readonly #leave: Leave
  #overdue: NodeJS.Timeout | undefined

  /** @param leave gives up the task's place among the others */
  constructor(leave: Leave) {
    this.#leave = leave
  }

  /** Calls `overdue` after `ms`, unless the task has ended by then. */
  limit(ms: number, overdue: () => void): void {
    this.#overdue = setTimeout(overdue, ms)
  }

  end(): void {
    clearTimeout(this.#overdue)
    this.#leave()
  }
}
