import { type AnyDatabase, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { expect } from 'vitest'
import { type TaskHandle, TaskLostError, TaskMonitor } from '../../src/index.js'
import { openStore, retryTransient, type Store } from '../../src/store/store.js'
import type { Task } from '../../src/task/task.js'
import { fast } from './fast.js'
import { jobKey, ledgerAdapter } from './ledger-queue.js'
import { type Death, type Operation, SLOTS } from './operations.js'
import { ago, HOUR } from './sql.js'

/** A task that was registered, and what is known of its end without looking at the database. */
export interface Registration {
  readonly task: TaskHandle
  readonly nonce: number
  readonly processId: string
  readonly monitor: TaskMonitor
  readonly jobRef: string | null
  /** When it began and when it was durable, on a clock that counts steps. */
  readonly begun: number
  readonly durable: number
  completed: boolean
  /** Its process came to count as dead while it was in flight, as far as a sweep may have seen. */
  struck: boolean
}

export const MAX_RECOVERIES = 2

/**
 * Processes that share a database, driven step by step. None has a timer that matters: leases are long, and end by an
 * update of the row.
 */
export class Fleet {
  readonly registrations: Registration[] = []
  readonly #db: AnyDatabase
  readonly #atomic: boolean
  readonly #store: Store
  readonly #monitors: TaskMonitor[] = []
  /** Monitors that crashed: nothing may touch them again. */
  readonly #abandoned = new Set<TaskMonitor>()
  /** Monitors that were removed and have not begun anew. */
  readonly #removed = new Set<TaskMonitor>()
  /** Processes that came to count as dead. */
  readonly #struck = new Set<string>()
  #steps = 0

  private constructor(db: AnyDatabase, atomic: boolean) {
    this.#db = db
    this.#atomic = atomic
    this.#store = openStore(db, {})
  }

  static async create(db: AnyDatabase, atomic: boolean): Promise<Fleet> {
    const fleet = new Fleet(db, atomic)
    for (let slot = 0; slot < SLOTS; slot++) await fleet.#boot(slot)
    return fleet
  }

  /** Carries out an operation. `settled`: nothing else runs, so its result must follow from the database. */
  async perform(operation: Operation, settled: boolean): Promise<void> {
    this.#steps += 1
    switch (operation.kind) {
      case 'register':
        return this.#register(operation.slot, operation.job === null ? null : `job-${operation.job}`, settled)
      case 'complete':
        return this.#end(operation.task, settled, async (registration) => {
          await registration.task.complete()
          registration.completed = true
        })
      case 'completeIn':
        return this.#end(operation.task, settled, (registration) =>
          this.#completeIn(registration, operation.commit),
        )
      case 'release':
        return this.#end(operation.task, settled, ({ task }) => task.release())
      case 'heartbeat':
        return this.#heartbeat(operation.slot, settled)
      case 'progress':
        return this.#progress(operation.slot, settled)
      case 'remove':
        return this.#remove(this.#monitors[operation.slot]!)
      case 'sweep':
        return this.#sweep(operation.slot)
      case 'retry':
        return this.#retry(operation.slot, settled)
      case 'pause':
        return this.#strike(this.#monitors[operation.slot]!, operation.death)
      case 'crash':
        return this.#crash(operation.slot, operation.death)
    }
  }

  /** All crash; one that comes anew cleans up until nothing is in flight. */
  async end(): Promise<void> {
    for (let slot = 0; slot < SLOTS; slot++) await this.#crash(slot, 'expired')
    await until(
      async () => {
        await this.#sweep(0)
        const { rows } = await sql`select id from holdfast_tasks`.execute(this.#db)
        return rows.length === 0
      },
      { what: 'every orphan is recovered' },
    )
  }

  async #boot(slot: number): Promise<void> {
    const monitor = new TaskMonitor({
      ...{ db: this.#db, adapters: [ledgerAdapter(this.#db, this.#atomic)], logger: fast.logger },
      ...{ heartbeatInterval: 10_000, orphanThreshold: 60_000, sweepInterval: 1, recoveryBackoff: 1 },
      ...{ maxRecoveries: MAX_RECOVERIES, isolateSuspects: false, reserveConnection: false, batchSize: 3 },
    })
    await monitor.pingProcess()
    this.#monitors[slot] = monitor
  }

  async #register(slot: number, jobRef: string | null, settled: boolean): Promise<void> {
    const monitor = this.#monitors[slot]!
    const begun = this.#steps
    if (this.#removed.has(monitor)) await this.#ping(monitor)
    const { processId } = monitor
    const lives = await this.#lives(processId)
    const taken = await this.#take(jobRef)
    try {
      const task = await monitor.register({ payload: { begun }, ...(jobRef === null ? {} : { jobRef }) })
      if (settled) expect(lives, 'a dead process registered a task').toBe(true)
      const durable = this.#steps
      const owner = task.fullId.split('/', 1)[0]!
      const struck = this.#struck.has(owner)
      this.registrations.push({
        ...{
          task,
          nonce: (task as Task).nonce,
          processId: owner,
          monitor,
          jobRef,
          begun,
          durable,
          completed: false,
          struck,
        },
      })
    } catch (error) {
      if (!TaskLostError.is(error)) throw error
      if (settled) expect(lives, 'a living process could not register').toBe(false)
      if (taken) await sql`insert into jobs (ref, body) values (${jobRef}, 'null')`.execute(this.#db)
    }
  }

  async #remove(monitor: TaskMonitor): Promise<void> {
    await monitor.removeProcess()
    this.#removed.add(monitor)
  }

  async #ping(monitor: TaskMonitor): Promise<boolean> {
    const { processId } = monitor
    const beaten = await monitor.pingProcess()
    this.#removed.delete(monitor)
    // A lease that was prolonged before anyone saw its end has not ended.
    if (monitor.processId === processId) this.#struck.delete(processId)
    return beaten
  }

  /** Takes the job from the queue, if it is there. */
  async #take(jobRef: string | null): Promise<boolean> {
    if (jobRef === null) return false
    const taking = sql`delete from jobs where ref = ${jobRef}`
    const { numAffectedRows } = await retryTransient(this.#store, () => taking.execute(this.#db))
    return numAffectedRows === 1n
  }

  async #end(
    index: number,
    settled: boolean,
    end: (registration: Registration) => Promise<void>,
  ): Promise<void> {
    const living = this.registrations.filter(({ monitor }) => !this.#abandoned.has(monitor))
    const registration = living[index % living.length]
    if (registration === undefined) return
    const inFlight = await this.#inFlight(registration)
    const answer = await end(registration).then(
      () => 'accepted',
      (error) => {
        if (!TaskLostError.is(error)) throw error
        return 'refused'
      },
    )
    if (settled) expect(answer, registration.task.fullId).toBe(inFlight ? 'accepted' : 'refused')
  }

  async #completeIn(registration: Registration, commit: boolean): Promise<void> {
    const rollBack = new Error('roll back')
    const transact = (): Promise<void> =>
      this.#db
        .transaction()
        .setIsolationLevel('read committed')
        .execute(async (trx) => {
          await registration.task.complete({ trx })
          if (!commit) throw rollBack
        })
    // A deadlock in a transaction of one's own is one's own to try again.
    await retryTransient(this.#store, transact).catch((error) => {
      if (error !== rollBack) throw error
    })
    if (commit) registration.completed = true
  }

  async #heartbeat(slot: number, settled: boolean): Promise<void> {
    const monitor = this.#monitors[slot]!
    const { processId } = monitor
    const lives = await this.#lives(processId)
    const open = this.registrations.filter((one) => one.processId === processId && one.task.open)
    expect(await this.#ping(monitor)).toBe(true)
    if (!settled) return
    expect(monitor.processId === processId, 'goes on under its id exactly when it lives').toBe(lives)
    if (lives) return
    for (const { task } of open) expect(task.signal.aborted, `${task.fullId} heard of its death`).toBe(true)
  }

  async #progress(slot: number, settled: boolean): Promise<void> {
    const monitor = this.#monitors[slot]!
    const mine = this.registrations.filter(({ processId }) => processId === monitor.processId)
    const inFlight = await Promise.all(mine.map((one) => this.#inFlight(one)))
    const count = await monitor.updateHeartbeats(mine.map(({ task }) => task))
    if (settled) expect(count).toBe(inFlight.filter(Boolean).length)
  }

  /** Whoever judges has beaten at least twice; what it fences must have been struck. */
  async #sweep(slot: number): Promise<void> {
    const monitor = this.#monitors[slot]!
    await until(async () => (await this.#ping(monitor)) && monitor.health().gapFreeForMs >= 2)
    const locked = await monitor.acquireGcLock()
    const { fenced } = await monitor.cleanupOrphanedTasks()
    if (locked) await monitor.releaseGcLock()
    for (const processId of fenced) expect(this.#struck.has(processId), `${processId} lived`).toBe(true)
  }

  /** A person lets a quarantined job run again, unless it does already. */
  async #retry(slot: number, settled: boolean): Promise<void> {
    if (!settled) return
    const monitor = this.#monitors[slot]!
    for (const { id, jobRef, taskId } of await monitor.quarantine.list()) {
      const last = this.registrations.findLast((one) => one.jobRef === jobRef || one.task.fullId === taskId)
      const ref = jobKey(jobRef, taskId.split('/')[1]!)
      const queued = await sql`select ref from jobs where ref = ${ref}`.execute(this.#db)
      if (last?.task.fullId !== taskId || queued.rows.length > 0) continue
      expect(await monitor.quarantine.retry(id)).toEqual({ kind: 'requeued', jobRef })
      return
    }
  }

  async #crash(slot: number, death: Death): Promise<void> {
    const monitor = this.#monitors[slot]!
    this.#abandoned.add(monitor)
    await this.#strike(monitor, death)
    await this.#boot(slot)
  }

  /** Makes the process count as dead. Its row says that its lease was short, so that others may judge it soon. */
  async #strike({ processId }: TaskMonitor, death: Death): Promise<void> {
    this.#struck.add(processId)
    for (const one of this.registrations) {
      if (one.processId === processId && !one.completed) one.struck = true
    }
    const statement = {
      expired: sql`update holdfast_processes set orphan_threshold_ms = 1, heartbeat_interval_ms = 1,
        last_seen_at = ${ago(HOUR)}, lease_expires_at = ${ago(HOUR)} where process_id = ${processId}`,
      dead: sql`update holdfast_processes set state = 'dead' where process_id = ${processId} and state = 'alive'`,
      gone: sql`delete from holdfast_processes where process_id = ${processId}`,
    }[death]
    await retryTransient(this.#store, () => statement.execute(this.#db))
  }

  async #lives(processId: string): Promise<boolean> {
    const { rows } = await sql`
      select 1 as found from holdfast_processes where process_id = ${processId} and state = 'alive'`.execute(
      this.#db,
    )
    return rows.length > 0
  }

  async #inFlight({ processId, task }: Registration): Promise<boolean> {
    const { rows } = await sql`
      select 1 as found from holdfast_tasks
      where process_id = ${processId} and id = ${task.id} and ended is null`.execute(this.#db)
    return rows.length > 0
  }
}
