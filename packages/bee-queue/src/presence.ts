import type { Monitor, MonitorConfig } from '@holdfast/core'
import type { RedisLink } from './redis-link.js'
import { BEAT } from './scripts/beat.js'

export interface PresenceParts {
  readonly link: RedisLink
  readonly monitor: Monitor
  /** Each heartbeat tells which Redis it has met. */
  onBeat(server: string): void
}

/**
 * Shows in Redis that this process lives, so that an outage of the SQL database alone never has its jobs run elsewhere,
 * and nobody takes a job that bee-queue only believes to have stalled.
 */
export class Presence {
  readonly #parts: PresenceParts
  readonly #timer: NodeJS.Timeout
  #processId = ''
  #beating: Promise<void> | undefined

  constructor(parts: PresenceParts) {
    this.#parts = parts
    this.#timer = setInterval(() => void this.beat(), parts.monitor.config.heartbeatInterval)
    this.#timer.unref()
  }

  /** One heartbeat, unless one is under way. Never rejects: the next one comes. */
  beat(): Promise<void> {
    this.#beating ??= this.#beat()
      .catch(() => undefined) // Redis is away; bee-queue's own connections report it.
      .finally(() => {
        this.#beating = undefined
      })
    return this.#beating
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  async #beat(): Promise<void> {
    const { link, monitor, onBeat } = this.#parts
    if (link.closed) return
    const { lease, kept } = presenceTimes(monitor.config)
    const { processId } = monitor
    const server = String(await link.run(BEAT, processId, lease, kept, this.#processId))
    this.#processId = processId
    onBeat(server)
  }
}

/**
 * Whole numbers, which Redis insists on. `lease`: milliseconds that a process is believed alive here, so short that the database's lease never ends before it.
 * `kept`: milliseconds after which its jobs are anybody's, if no monitor has recovered them before.
 */
export function presenceTimes({ orphanThreshold, safetyMargin, sweepInterval, ...config }: MonitorConfig) {
  const blocked = config.heartbeatThread ? config.maxLoopBlock : 0
  return {
    lease: Math.ceil(orphanThreshold - safetyMargin),
    kept: Math.ceil(orphanThreshold + blocked + 4 * sweepInterval + 2_000),
  }
}
