import { BeatSender } from './beat-sender.js'
import { monotonicNow, sleep } from './clock.js'
import { LeaseExpiredError } from './errors.js'
import { type Events, messageOf } from './events.js'
import { HeartbeatConnection } from './heartbeat-connection.js'
import { HeartbeatThread } from './heartbeat-thread.js'
import type { Incarnation } from './incarnation.js'
import type { Logger } from './logger.js'
import { LoopClock } from './loop-clock.js'
import type { MonitorConfig } from './options.js'
import { beat } from './store/processes.js'
import type { Store } from './store/store.js'

export interface HeartbeatHooks {
  /** The incarnation that beats now. */
  current(): Incarnation
  /** Called after each successful heartbeat, never awaited by the beat. */
  onBeat(incarnation: Incarnation): void
  /** The database says that the incarnation is no longer alive. Awaited before the next beat. */
  onEvicted(incarnation: Incarnation): Promise<void>
}

export interface HeartbeatParts {
  readonly store: Store
  readonly config: MonitorConfig
  readonly events: Events
  readonly logger: Logger
  /** Where the heartbeat thread connects to, if there is to be one. */
  readonly threadConnection?: string | URL | undefined
}

/** Beats at a fixed rate on its own timer, never behind a sweep, from `start` to `stop`. */
export class Heartbeat {
  readonly #connection: HeartbeatConnection
  readonly #sender: BeatSender
  readonly #config: MonitorConfig
  readonly #events: Events
  readonly #logger: Logger
  readonly #hooks: HeartbeatHooks
  readonly #clock: LoopClock
  readonly #thread: HeartbeatThread | undefined
  #stopping = new AbortController()
  #wake = new AbortController()
  #watchdog: NodeJS.Timeout | undefined
  #failures = 0
  #loop: Promise<void> | undefined

  constructor({ store, config, events, logger, threadConnection }: HeartbeatParts, hooks: HeartbeatHooks) {
    this.#connection = new HeartbeatConnection(store, config, logger)
    this.#sender = new BeatSender(config)
    this.#config = config
    this.#events = events
    this.#logger = logger
    this.#hooks = hooks
    this.#clock = new LoopClock(config.heartbeatInterval, (blockedForMs) => {
      this.#thread?.catchUp()
      events.emit('eventLoopBlocked', { blockedForMs })
    })
    if (threadConnection !== undefined) this.#thread = this.#makeThread(store, threadConnection)
  }

  #makeThread(store: Store, connection: string | URL): HeartbeatThread {
    return new HeartbeatThread(this.#config, connection, store.place, this.#clock.lastRun, {
      processId: () => this.#hooks.current().processId,
      onBeat: (sentAt, databaseMs) => void this.#answered(this.#hooks.current(), sentAt, databaseMs),
      // Only a heartbeat through the monitor's own database may say that the process was evicted.
      onGone: () => this.beatNow(),
      onFailed: (error) => {
        this.#failed(this.#hooks.current(), error)
        this.beatNow()
      },
    })
  }

  /** The caller has just registered the process, which was the first heartbeat. */
  start(): void {
    this.watch()
    this.#clock.start()
    this.#thread?.start()
    this.#loop ??= this.#run()
  }

  get through(): 'thread' | 'reserved' | 'pool' {
    if ((this.#thread?.restsFor() ?? 0) > 0) return 'thread'
    return this.#connection.reserved ? 'reserved' : 'pool'
  }

  /** Beats at once rather than at the next interval. */
  beatNow(): void {
    this.#wake.abort()
  }

  /** Lets the heart beat, again if it was stopped, on a connection of its own where there is one. */
  async open(): Promise<void> {
    if (this.#stopping.signal.aborted) this.#stopping = new AbortController()
    this.watch()
    await this.#connection.open()
  }

  /** One heartbeat, now. False when it did not get through, or not in time. */
  async once(): Promise<boolean> {
    const incarnation = this.#hooks.current()
    const before = incarnation.lease.renewals
    await this.#beat(incarnation)
    return this.#hooks.current() !== incarnation || incarnation.lease.renewals > before
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#wake.abort()
    clearTimeout(this.#watchdog)
    this.#connection.close()
    this.#clock.stop()
    await Promise.all([this.#loop, this.#thread?.stop()])
    this.#loop = undefined
  }

  async #run(): Promise<void> {
    const { heartbeatInterval } = this.#config
    let due = monotonicNow() + heartbeatInterval
    while (!this.#stopping.signal.aborted) {
      this.#wake = new AbortController()
      await sleep(
        Math.max(0, due - monotonicNow()),
        AbortSignal.any([this.#wake.signal, this.#stopping.signal]),
      )
      if (this.#stopping.signal.aborted) return
      const rest = this.#threadBeats()
      due = monotonicNow() + (rest > 0 ? rest : heartbeatInterval)
      if (rest > 0 && !this.#wake.signal.aborted) continue
      await this.#beat(this.#hooks.current())
    }
  }

  /** For how long (ms) heartbeats can be left to the thread; 0 or less: not at all. */
  #threadBeats(): number {
    this.#thread?.catchUp()
    return this.#thread?.restsFor() ?? 0
  }

  async #beat(incarnation: Incarnation): Promise<void> {
    const { heartbeatInterval, orphanThreshold } = this.#config
    const { processId } = incarnation
    try {
      await this.#sender.send(
        `a heartbeat of ${processId}`,
        () => this.#connection.run((store) => beat(store, processId, orphanThreshold), heartbeatInterval),
        async (sentAt, databaseMs) => {
          if (databaseMs !== undefined) this.#thread?.disproved(processId)
          await this.#answered(incarnation, sentAt, databaseMs)
        },
      )
    } catch (error) {
      this.#failed(incarnation, error)
    }
  }

  async #answered(incarnation: Incarnation, sentAt: number, databaseMs: number | undefined): Promise<void> {
    if (incarnation !== this.#hooks.current() || this.#stopping.signal.aborted) return
    if (databaseMs === undefined) {
      await this.#hooks.onEvicted(incarnation)
      this.#thread?.follow()
      this.watch()
      return
    }
    incarnation.lease.renew(sentAt, databaseMs)
    // An answer that came too late to be good for anything leaves the lease as it was.
    if (!incarnation.lease.confirmed) return
    if (this.#failures > 0) this.#logger.warn(`heartbeats get through again after ${this.#failures} failed`)
    this.#failures = 0
    incarnation.alive()
    this.watch()
    this.#hooks.onBeat(incarnation)
  }

  #failed(incarnation: Incarnation, error: unknown): void {
    incarnation.lease.interrupt()
    this.#failures += 1
    if (this.#failures === 1) this.#logger.warn(`a heartbeat failed: ${messageOf(error)}`)
    this.#events.emit('heartbeatFailed', { error, failures: this.#failures })
  }

  /** Ends the lease here, on this process's own clock, before it ends in the database. */
  watch(): void {
    clearTimeout(this.#watchdog)
    if (this.#stopping.signal.aborted) return
    const incarnation = this.#hooks.current()
    // After a block of the event loop the thread's heartbeats wait to be heard.
    incarnation.lease.onEnd = () => this.#thread?.catchUp()
    this.#watchdog = setTimeout(() => this.#expire(incarnation), Math.max(0, incarnation.lease.remaining()))
  }

  #expire(incarnation: Incarnation): void {
    if (!incarnation.lease.expired) {
      this.watch()
      return
    }
    const { processId, tasks, lease } = incarnation
    this.#logger.warn(
      `the lease of ${processId} has run out here: ${tasks.inFlight} tasks are told to end, none begins`,
    )
    this.#events.emit('leaseExpired', { processId, tasks: tasks.inFlight })
    incarnation.abort(
      new LeaseExpiredError(
        `No heartbeat of ${processId} has succeeded for ${Math.round(lease.age())} ms: others may soon recover its ` +
          'tasks. Stop the work; complete() still tells whether the task was lost.',
      ),
    )
  }
}
