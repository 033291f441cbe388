import { monotonicNow } from './clock.js'

export interface LeaseTimes {
  readonly heartbeatInterval: number
  readonly orphanThreshold: number
  readonly safetyMargin: number
}

/**
 * What a process knows of its own life, on its monotonic clock alone.
 *
 * A lease runs from the moment the last successful heartbeat was *sent*: the database saw it later, so the lease
 * ends here before it ends there.
 */
export class Lease {
  readonly #times: LeaseTimes
  #renewedAt: number | undefined
  #gapFreeSince: number | undefined
  #clockOffset: number | undefined
  /** Called before the lease is said to have ended: perhaps there are answers that nobody has looked at yet. */
  onEnd: (() => void) | undefined
  /** Heartbeats that have succeeded. */
  renewals = 0

  constructor(times: LeaseTimes) {
    this.#times = times
  }

  /** A heartbeat sent at `sentAt` succeeded, and the database's clock then read `databaseMs`. */
  renew(sentAt: number, databaseMs: number): void {
    const { heartbeatInterval } = this.#times
    // An answer that was overtaken by a later heartbeat's says nothing new.
    if (this.#renewedAt !== undefined && sentAt <= this.#renewedAt) return
    this.renewals += 1
    const offset = databaseMs - sentAt
    const late = this.#renewedAt === undefined || sentAt - this.#renewedAt > 2 * heartbeatInterval
    const stepped =
      this.#clockOffset !== undefined && Math.abs(offset - this.#clockOffset) > heartbeatInterval
    if (late || stepped || this.#gapFreeSince === undefined) this.#gapFreeSince = sentAt
    this.#renewedAt = sentAt
    this.#clockOffset = offset
  }

  /** A heartbeat failed: whoever could not beat can't tell who else could not. */
  interrupt(): void {
    this.#gapFreeSince = undefined
  }

  /** Milliseconds until the lease ends, counted with the safety margin; 0 or less when it has ended. */
  remaining(): number {
    if (this.#left() <= 0) this.onEnd?.()
    return this.#left()
  }

  #left(): number {
    if (this.#renewedAt === undefined) return 0
    return this.#renewedAt + this.#times.orphanThreshold - this.#times.safetyMargin - monotonicNow()
  }

  get expired(): boolean {
    return this.remaining() <= 0
  }

  /** Whether the last heartbeat got through and the lease still holds. */
  get confirmed(): boolean {
    return this.#gapFreeSince !== undefined && !this.expired
  }

  /** Milliseconds since the last successful heartbeat was sent. */
  age(): number {
    return this.#renewedAt === undefined ? Number.POSITIVE_INFINITY : monotonicNow() - this.#renewedAt
  }

  /**
   * For how long (ms) this process's own heartbeats have succeeded without a gap. It may judge another process
   * only when this is at least the other's `orphanThreshold`; so nobody judges after an outage, a pause or a start.
   */
  gapFreeFor(): number {
    if (this.#gapFreeSince === undefined || this.#renewedAt === undefined) return 0
    if (this.age() > 2 * this.#times.heartbeatInterval) return 0
    return this.#renewedAt - this.#gapFreeSince
  }
}
