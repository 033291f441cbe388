import { monotonicNow } from '../clock.js'

/** Limits how many jobs a second become runnable again, on average over a sweep interval. */
export class Pace {
  readonly #perMs: number
  readonly #most: number
  #left: number
  #at = monotonicNow()

  constructor({ recoveryRate, sweepInterval }: { recoveryRate: number; sweepInterval: number }) {
    this.#perMs = recoveryRate / 1_000
    // Sweeps come once an interval, give or take a fifth: less would waste what they are allowed. More would add up when
    // many processes take turns to sweep.
    this.#most = Math.max(1, this.#perMs * 1.5 * sweepInterval)
    this.#left = this.#most
  }

  /** How many jobs may become runnable now. */
  get left(): number {
    if (this.#perMs === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY
    const now = monotonicNow()
    this.#left = Math.min(this.#most, this.#left + (now - this.#at) * this.#perMs)
    this.#at = now
    return Math.max(0, Math.floor(this.#left))
  }

  spend(jobs: number): void {
    this.#left -= jobs
  }
}
