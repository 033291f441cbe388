import { monotonicNow } from './clock.js'
import { withTimeout } from './timeout.js'

/** Heartbeats that may wait for an answer at once: each holds a connection. */
const MAX_UNANSWERED = 3

export interface BeatTimes {
  readonly heartbeatInterval: number
  readonly orphanThreshold: number
}

/**
 * Sends heartbeats one after the other. One that hangs must not keep the next from being tried, perhaps on a connection
 * that works; when its answer comes late after all, it counts from when it was sent.
 */
export class BeatSender {
  readonly #times: BeatTimes
  #unanswered = 0
  #sentAt = Number.NEGATIVE_INFINITY

  constructor(times: BeatTimes) {
    this.#times = times
  }

  /**
   * Sends one, and waits for its answer up to a heartbeat interval.
   *
   * @param send answers the database's clock in ms, or undefined when the process is no longer alive
   * @param answered gets each answer, also one that comes late, with the monotonic time at which it was asked for
   * @throws when it failed, or is not answered in time
   */
  async send(
    what: string,
    send: () => Promise<number | undefined>,
    answered: (sentAt: number, databaseMs: number | undefined) => Promise<void>,
  ): Promise<void> {
    const { heartbeatInterval, orphanThreshold } = this.#times
    const sentAt = monotonicNow()
    // When all that were sent hang, one more per lease finds out whether new connections work.
    if (this.#unanswered >= MAX_UNANSWERED && sentAt - this.#sentAt < orphanThreshold) return
    this.#sentAt = sentAt
    this.#unanswered += 1
    const handled = send()
      .finally(() => {
        this.#unanswered -= 1
      })
      .then((databaseMs) => answered(sentAt, databaseMs))
    try {
      await withTimeout(handled, heartbeatInterval, what)
    } catch (error) {
      handled.catch(() => undefined) // Told here already, be it late or failed.
      throw error
    }
  }
}
