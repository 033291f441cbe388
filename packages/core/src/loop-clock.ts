import { monotonicNow } from './clock.js'
import { sharedNow } from './heartbeat-protocol.js'

/**
 * Notes in shared memory that the event loop runs, so that another thread can see how long it has stood still, and tells
 * when it runs again after more than `heartbeatInterval` ms.
 */
export class LoopClock {
  readonly lastRun = new SharedArrayBuffer(8)
  readonly #view = new BigInt64Array(this.lastRun)
  readonly #longest: number
  readonly #onBlocked: (blockedForMs: number) => void
  #timer: NodeJS.Timeout | undefined

  constructor(heartbeatInterval: number, onBlocked: (blockedForMs: number) => void) {
    this.#longest = heartbeatInterval
    this.#onBlocked = onBlocked
  }

  start(): void {
    if (this.#timer !== undefined) return
    const period = Math.max(5, Math.min(this.#longest / 4, 500))
    let last = monotonicNow()
    this.#note()
    this.#timer = setInterval(() => {
      const now = monotonicNow()
      const blockedForMs = now - last - period
      last = now
      this.#note()
      if (blockedForMs > this.#longest) this.#onBlocked(blockedForMs)
    }, period)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #note(): void {
    Atomics.store(this.#view, 0, process.hrtime.bigint())
  }
}

/** For how long (ms) the event loop whose clock this is has not run. */
export const blockedFor = (lastRun: SharedArrayBuffer): number =>
  sharedNow() - Number(Atomics.load(new BigInt64Array(lastRun), 0)) / 1e6
