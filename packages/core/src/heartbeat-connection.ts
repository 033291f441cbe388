import { type Kysely, sql } from 'kysely'
import { monotonicNow } from './clock.js'
import { HeldConnection } from './held-connection.js'
import type { Logger } from './logger.js'
import type { MonitorConfig } from './options.js'
import type { Store } from './store/store.js'
import { withTimeout } from './timeout.js'

const SHARED =
  'heartbeats share the pool with everything else, for it gave no second connection: work that holds it for long can ' +
  'cost this process its lease. Give the pool at least 2 connections, or set reserveConnection: false if this is meant.'

/** How often the pool gives no second connection before that is told: the first time it may only have been slow. */
const TOLD_AFTER = 2

/**
 * What heartbeats go through: a connection of their own where the pool has more than one, so that work that holds all
 * the others can't starve them; else the pool.
 */
export class HeartbeatConnection {
  readonly #store: Store
  readonly #config: MonitorConfig
  readonly #logger: Logger
  #held: HeldConnection | undefined
  /** Had, and not waiting for an answer for too long. */
  #usable = false
  /** Whether the pool was found to have more than one. */
  #roomy = false
  /** How often it was not found so, and heartbeats until it is asked again. */
  #refusals = 0
  #pause = 0
  #probing: HeldConnection | undefined
  #open = false

  constructor(store: Store, config: MonitorConfig, logger: Logger) {
    this.#store = store
    this.#config = config
    this.#logger = logger
  }

  /** Whether there is a reserved connection that works, as far as is known. */
  get reserved(): boolean {
    return this.#usable
  }

  /** Reserves a connection, if there is one to be had soon; else it is taken when it comes. Never throws. */
  async open(): Promise<void> {
    this.#open = true
    await withTimeout(this.#reserve(), this.#config.heartbeatInterval, 'reserving a connection').catch(
      () => undefined,
    )
  }

  /** Gives the connection back. */
  close(): void {
    this.#open = false
    this.#drop()?.release()
  }

  /**
   * Runs `work`, which must bear repetition, on the reserved connection; when that breaks, at once on the pool. While an
   * answer is overdue (`late`) the pool is used, which may have connections that work.
   */
  async run<T>(work: (store: Store) => Promise<T>, late: number): Promise<T> {
    const held = this.#held
    if (held === undefined || !this.#usable) return this.#onPool(work)
    let overdue = false
    const timer = setTimeout(() => {
      overdue = true
      if (this.#held === held) this.#usable = false
    }, late)
    try {
      const result = await held.run((db) => work(this.#on(db)))
      if (this.#held === held) this.#usable = true
      return result
    } catch (error) {
      if (this.#held === held) this.#drop()
      held.discard(error)
      if (overdue || !this.#open) throw error
      return this.#onPool(work)
    } finally {
      clearTimeout(timer)
    }
  }

  async #onPool<T>(work: (store: Store) => Promise<T>): Promise<T> {
    const result = await work(this.#store)
    // Only now that the database answers: in an outage the attempts would use up the pool.
    if (!this.#usable) void this.#reserve()
    return result
  }

  async #reserve(): Promise<void> {
    if (!this.#config.reserveConnection || !this.#open || this.#usable) return
    if (this.#held !== undefined) {
      // Not had yet; else without an answer although others have theirs.
      if (!this.#held.had || this.#probing === this.#held) return
      this.#drop()?.discard(new Error('This connection does not answer.'))
    }
    if (this.#pause > 0) {
      this.#pause -= 1
      return
    }
    const held = new HeldConnection(this.#store.db)
    this.#held = held
    const since = monotonicNow()
    this.#probing = held
    try {
      const db = await held.acquired
      const spare = await this.#hasAnother(db, monotonicNow() - since)
      if (this.#held !== held) return // Closed meanwhile.
      this.#usable = spare
      if (!spare) this.#drop()?.release()
    } catch (error) {
      if (this.#held === held) this.#drop()
      held.discard(error)
    } finally {
      if (this.#probing === held) this.#probing = undefined
    }
  }

  /**
   * Whether the pool has a connection beside the one held. It may only be slow or busy now, so it is asked again, ever
   * more rarely: in a pool of one everything else stands still meanwhile.
   */
  async #hasAnother(db: Kysely<unknown>, acquiredInMs: number): Promise<boolean> {
    if (this.#roomy) return true
    const { heartbeatInterval } = this.#config
    // A new connection may take as long as the one that is held did; but the next heartbeat shouldn't wait for this.
    const time = Math.min(heartbeatInterval / 2, Math.max(1_000, 2 * acquiredInMs))
    const answers = (on: Kysely<unknown>): Promise<boolean> =>
      withTimeout(sql`select 1`.execute(on), time, 'a connection').then(
        () => true,
        () => false,
      )
    this.#roomy = await answers(this.#store.db)
    if (this.#roomy || !this.#open) return this.#roomy
    // Neither answers: then it is the database that does not.
    if (await answers(db)) {
      this.#pause = 2 ** this.#refusals
      this.#refusals += 1
      if (this.#refusals === TOLD_AFTER) this.#logger.warn(SHARED)
    }
    return false
  }

  /** No longer uses the held connection; the caller gives it back. */
  #drop(): HeldConnection | undefined {
    const held = this.#held
    this.#held = undefined
    this.#usable = false
    return held
  }

  #on(db: Kysely<unknown>): Store {
    return { ...this.#store, db }
  }
}
