import { PayloadError, TaskLostError } from './errors.js'
import { messageOf } from './events.js'
import { newProcessId } from './identity.js'
import type { InFlight } from './in-flight.js'
import { Lease } from './lease.js'
import type { MonitorConfig } from './options.js'
import { type PendingEnd, PendingEnds } from './pending-ends.js'
import type { Fate } from './store/fates.js'
import type { NewTask } from './store/new-tasks.js'
import type { Store } from './store/store.js'
import { deleteTasks, insertTasks, touchTasks } from './store/tasks.js'
import { WriteBatcher } from './write-batcher.js'

/** How a task was to end when the write that ends it had an unknown outcome. */
export type EndSettlement =
  | { readonly kind: 'complete' }
  | { readonly kind: 'release'; readonly cause: 'release' | 'overdue'; readonly payload?: string | undefined }

/** What a heartbeat does about a task whose last write had an unknown outcome. */
export type Settlement =
  | EndSettlement
  /** The INSERT may have happened, or happen yet: deleted until `until` (monotonic ms), when it no longer can. */
  | { readonly kind: 'unregister'; readonly until: number }

export interface Registration {
  readonly task: NewTask
  /** A suspect that has the process to itself. */
  readonly isolated: boolean
}

/** Not written: `suspect`, the job must run alone; `dead`, this process is not alive in the database. */
export type Registered = 'written' | 'suspect' | 'dead'

/** A job that was in flight in this many dying processes is a suspect. */
const SUSPECT_FROM = 2

/** Most bytes of payload in one statement, beside the first: so a batch of large ones needs no memory for all. */
const STATEMENT_BYTES = 8 * 1_048_576

/**
 * One life of this process under one process id: from its registration to its end or eviction. Tasks belong to the
 * incarnation that registered them, so nothing of an old life can touch a new one.
 */
export class Incarnation {
  readonly processId: string = newProcessId()
  readonly lease: Lease
  /** The tasks in flight, by task id. */
  readonly tasks = new Map<string, InFlight>()
  readonly pending: PendingEnds
  /** Tasks whose INSERT, DELETE or release had an unknown outcome. */
  readonly doubtful = new Map<string, Settlement>()
  /** Each answers whether the row was written; an Error for its own fault. */
  readonly registrations: WriteBatcher<Registration, Registered | Error>
  /** Each answers whether the row was still this process's. */
  readonly completions: WriteBatcher<string, boolean>
  readonly #store: Store
  readonly #config: MonitorConfig
  #ended = false
  #emptied: (() => void)[] = []
  #verdicts: { resolve(): void; reject(error: Error): void }[] = []

  constructor(store: Store, config: MonitorConfig) {
    this.#store = store
    this.#config = config
    this.lease = new Lease(config)
    this.pending = new PendingEnds({
      ...{ store, processId: this.processId, batchSize: config.batchSize },
      decided: (ending, fate) => this.#decided(ending, fate),
    })
    this.registrations = new WriteBatcher({
      maxItems: config.batchSize,
      maxWeight: () => Math.min(STATEMENT_BYTES, store.limits.payloadBytes),
      weigh: ({ task }) => task.payload.length,
      write: (registrations) => this.#write(registrations),
      // A statement can't take over a row that it has just written.
      conflictKey: ({ task: { queue, jobRef } }) => (jobRef === null ? null : `${queue}\0${jobRef}`),
    })
    this.completions = new WriteBatcher({
      maxItems: config.batchSize,
      write: async (ids) => {
        const deleted = await deleteTasks(store, this.processId, ids)
        return ids.map((id) => deleted.has(id))
      },
    })
  }

  get ended(): boolean {
    return this.#ended
  }

  /** Whether a drain has to wait for heartbeats: for tasks in flight, or for those whose end is not yet certain. */
  get #busy(): boolean {
    if (this.tasks.size > 0) return true
    for (const { kind } of this.doubtful.values()) if (kind !== 'unregister') return true
    return false
  }

  /** Whether the id stands for a task of this incarnation whose end is not certain. */
  knows(taskId: string): boolean {
    return this.tasks.has(taskId) || this.pending.get(taskId) !== undefined || this.doubtful.has(taskId)
  }

  /** The task is no longer in flight here; `settlement` says what is still owed to the database. */
  forget(taskId: string, settlement?: Settlement): void {
    this.tasks.get(taskId)?.end()
    this.tasks.delete(taskId)
    if (settlement === undefined || this.#ended) this.doubtful.delete(taskId)
    else this.doubtful.set(taskId, settlement)
    // Nobody waits most of the time, and an outage can leave many that are doubtful.
    if (this.#emptied.length === 0 || this.#busy) return
    for (const resolve of this.#emptied.splice(0)) resolve()
  }

  /** The task was completed in a transaction of the caller's, perhaps not for the first time. */
  awaitCommit(ending: PendingEnd): void {
    const { id } = ending.handle
    this.pending.set(ending)
    this.tasks.delete(id)
    this.forget(id)
  }

  /** It is known what became of the transaction that a task was completed in. */
  #decided({ handle, entry }: PendingEnd, fate: Exclude<Fate, 'open'>): void {
    this.pending.delete(handle.id)
    if (fate === 'rolled-back' && !this.#ended) this.tasks.set(handle.id, entry)
    else entry.end()
    handle.decided(fate)
  }

  /**
   * Notes progress of tasks, by default of all whose row is written; those that are lost abort. Answers how many are
   * still this process's.
   */
  async updateProgress(
    ids: readonly string[] = [...this.tasks.keys()].filter((id) => this.tasks.get(id)?.handle !== undefined),
  ): Promise<number> {
    // The row of one that the caller's transaction ends is locked by that, while it is open.
    await Promise.all(ids.map((id) => this.pending.ask(id)))
    const own = ids.filter((id) => this.pending.get(id) === undefined)
    const touched = await touchTasks(this.#store, this.processId, own)
    for (const id of own) {
      if (!touched.has(id)) this.tasks.get(id)?.controller.abort(this.lost())
    }
    return touched.size
  }

  /** Resolves when all tasks have ended for certain, or `over` aborts. */
  async drained(over: AbortSignal): Promise<void> {
    while ((this.#busy || this.pending.size > 0) && !over.aborted) {
      await this.#whenEmpty()
      // What rolls back is in flight again.
      await this.pending.decide(over)
    }
  }

  #whenEmpty(): Promise<void> {
    if (!this.#busy) return Promise.resolve()
    return new Promise((resolve) => this.#emptied.push(resolve))
  }

  /** Resolves when heartbeats get through, if need be after the next one; rejects once this incarnation has ended. */
  confirm(): Promise<void> {
    if (this.#ended) return Promise.reject(this.lost())
    if (this.lease.confirmed) return Promise.resolve()
    return new Promise((resolve, reject) => this.#verdicts.push({ resolve, reject }))
  }

  /** A heartbeat succeeded: whoever waited to hear that this process lives may go on. */
  alive(): void {
    for (const { resolve } of this.#verdicts.splice(0)) resolve()
  }

  abort(reason: Error): void {
    const pending = this.pending.values().map(({ entry }) => entry)
    for (const { controller } of [...this.tasks.values(), ...pending]) controller.abort(reason)
  }

  /** Ends this life: every handle aborts, everyone who waits is told. */
  end(reason: Error): void {
    this.#ended = true
    this.abort(reason)
    // What is undecided is asked for by whoever waits for it.
    for (const { entry } of this.pending.values()) entry.end()
    for (const { reject } of this.#verdicts.splice(0)) reject(reason)
    for (const id of [...this.tasks.keys(), ...this.doubtful.keys()]) this.forget(id)
  }

  lost(): TaskLostError {
    return new TaskLostError(
      `Process ${this.processId} was declared dead or has stopped: its tasks are recovered elsewhere. Discard the result.`,
    )
  }

  /** Isolated tasks are written whatever their crash count, so they have a statement of their own. */
  async #write(registrations: readonly Registration[]): Promise<readonly (Registered | Error)[]> {
    const { isolateSuspects } = this.#config
    const results = new Map<Registration, Registered | Error>()
    for (const isolated of [false, true]) {
      const some = registrations.filter((registration) => registration.isolated === isolated)
      if (some.length === 0) continue
      const suspectFrom = isolated || !isolateSuspects ? Number.POSITIVE_INFINITY : SUSPECT_FROM
      const written = await this.#insert(
        some.map(({ task }) => task),
        suspectFrom,
      )
      for (const [index, registration] of some.entries()) results.set(registration, written[index]!)
    }
    return registrations.map((registration) => results.get(registration)!)
  }

  async #insert(tasks: readonly NewTask[], suspectFrom: number): Promise<readonly (Registered | Error)[]> {
    const { processId } = this
    const { crashWindow } = this.#config
    try {
      const { alive, suspects } = await insertTasks(this.#store, {
        processId,
        tasks,
        suspectFrom,
        crashWindow,
      })
      return tasks.map(({ id }) => (!alive ? 'dead' : suspects.has(id) ? 'suspect' : 'written'))
    } catch (error) {
      // The database named a value as wrong, so nothing was written: find the task at fault, spare the others.
      const kind = this.#store.dialect.errorKind(error)
      if (kind !== 'bad-value' && kind !== 'duplicate') throw error
      if (tasks.length === 1) {
        const message = `The database refused task ${tasks[0]!.id}: ${messageOf(error)}`
        return [new PayloadError(message, { cause: error })]
      }
      const middle = Math.ceil(tasks.length / 2)
      const first = await this.#insert(tasks.slice(0, middle), suspectFrom)
      return [...first, ...(await this.#insert(tasks.slice(middle), suspectFrom))]
    }
  }
}
