import type { Leave } from './isolation.js'

/** What this process keeps of a running task beside its row: its signal, its place among the others, its time limit. */
export class Running {
  readonly controller = new AbortController()
  readonly #leave: Leave
  #overdue: NodeJS.Timeout | undefined
  #ended = false

  /** @param leave gives up the task's place among the others */
  constructor(leave: Leave = () => undefined) {
    this.#leave = leave
  }

  /** Calls `overdue` after `ms`, unless the task has ended by then. */
  limit(ms: number, overdue: () => void): void {
    if (!this.#ended) this.#overdue = setTimeout(overdue, ms)
  }

  end(): void {
    this.#ended = true
    clearTimeout(this.#overdue)
    this.#leave()
  }
}
