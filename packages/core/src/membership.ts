import { hostname } from 'node:os'
import { monotonicNow } from './clock.js'
import { ConfigError } from './errors.js'
import type { Events } from './events.js'
import { Incarnation } from './incarnation.js'
import type { Logger } from './logger.js'
import { checkSchema } from './migrations/check-schema.js'
import type { MonitorConfig } from './options.js'
import { insertProcess } from './store/processes.js'
import type { Store } from './store/store.js'
import { withTimeout } from './timeout.js'
import { version } from './version.js'

export interface MembershipParts {
  readonly store: Store
  readonly config: MonitorConfig
  readonly events: Events
  readonly logger: Logger
  /** This process is on the list, where it was not before. */
  onJoined(): Promise<void>
  /** This process goes on under a new id. */
  onEvicted(): void
}

/** This process's place on the list of processes: one incarnation after the other. */
export class Membership {
  readonly #parts: MembershipParts
  #current: Incarnation
  #enlisted = false
  #checked = false
  #joining: Promise<void> | undefined
  #evicting: Promise<void> | undefined

  constructor(parts: MembershipParts) {
    this.#parts = parts
    this.#current = new Incarnation(parts.store, parts.config)
  }

  get current(): Incarnation {
    return this.#current
  }

  /** Whether the present incarnation is on the list, as far as this process knows. */
  get enlisted(): boolean {
    return this.#enlisted
  }

  /** Puts the present incarnation on the list: its first heartbeat. Callers at once share one. */
  join(): Promise<void> {
    this.#joining ??= this.#join().finally(() => {
      this.#joining = undefined
    })
    return this.#joining
  }

  /** Resolves when nobody is joining any more, whatever came of it. */
  async settled(): Promise<void> {
    await this.#joining?.catch(() => undefined) // Who joins has the error.
  }

  async #join(): Promise<void> {
    if (this.#enlisted) return
    await this.#checkDatabase()
    if (this.#current.ended) this.#renew()
    try {
      await this.#enlist(this.#current)
      this.#enlisted = true
    } catch (error) {
      this.#renew() // The old one's row may be there all the same.
      throw error
    }
    await this.#parts.onJoined()
  }

  async #checkDatabase(): Promise<void> {
    if (this.#checked) return
    const { store } = this.#parts
    await checkSchema(store)
    const problem = await store.dialect.sessionProblem(store.db)
    if (problem !== undefined)
      throw new ConfigError(`The sessions of this Kysely instance can't be used: ${problem}`)
    store.limits.payloadBytes = await store.dialect.maxPayloadBytes(store.db)
    this.#checked = true
  }

  /** The present incarnation is off the list, or about to be. */
  leave(reason: Error): void {
    this.#enlisted = false
    this.#current.end(reason)
  }

  /** The database says that `old` is dead. Several heartbeats may learn of the same death at once. */
  async evict(old: Incarnation): Promise<void> {
    if (old !== this.#current || !this.#enlisted) return
    this.#evicting ??= this.#evict(old).finally(() => {
      this.#evicting = undefined
    })
    await this.#evicting
  }

  async #evict(old: Incarnation): Promise<void> {
    const { store, config, events, logger, onEvicted } = this.#parts
    const tasks = old.tasks.inFlight
    old.end(old.lost())
    // Should this fail, the old incarnation stays current, ended, and the next heartbeat comes here again.
    const next = new Incarnation(store, config)
    await withTimeout(this.#enlist(next), config.orphanThreshold, `${next.processId} registers anew`)
    this.#current = next
    logger.warn(
      `process ${old.processId} was declared dead and its ${tasks} tasks go elsewhere; it goes on as ${next.processId}`,
    )
    events.emit('evicted', { processId: old.processId, newProcessId: next.processId, tasks })
    onEvicted()
  }

  #renew(): void {
    this.#current = new Incarnation(this.#parts.store, this.#parts.config)
  }

  async #enlist(incarnation: Incarnation): Promise<void> {
    const { store, config } = this.#parts
    const sentAt = monotonicNow()
    const self = { processId: incarnation.processId, hostname: hostname(), pid: process.pid, version }
    incarnation.lease.renew(sentAt, await insertProcess(store, self, config))
  }
}
