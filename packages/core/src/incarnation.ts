import { PayloadError, TaskLostError } from './errors.js'
import { messageOf } from './events.js'
import { newProcessId } from './identity.js'
import { Lease } from './lease.js'
import type { MonitorConfig } from './options.js'
import type { Store } from './store/store.js'
import { deleteTasks, insertTasks, type NewTask } from './store/tasks.js'
import { WriteBatcher } from './write-batcher.js'

/** How a task was to end when the write that ends it had an unknown outcome. */
export type EndSettlement =
  | { readonly kind: 'complete' }
  | { readonly kind: 'release'; readonly payload?: string | undefined }

/** What a heartbeat does about a task whose last write had an unknown outcome. */
export type Settlement =
  | EndSettlement
  /** The INSERT may have happened, or happen yet: deleted until `until` (monotonic ms), when it no longer can. */
  | { readonly kind: 'unregister'; readonly until: number }

/**
 * One life of this process under one process id: from its registration to its end or eviction. Tasks belong to the
 * incarnation that registered them, so nothing of an old life can touch a new one.
 */
export class Incarnation {
  readonly processId: string = newProcessId()
  readonly lease: Lease
  /** The tasks in flight, by task id. */
  readonly tasks = new Map<string, AbortController>()
  /** Tasks completed in a transaction of the caller's, whose end is not known yet, by task id. */
  readonly pending = new Map<string, AbortController>()
  /** Tasks whose INSERT, DELETE or release had an unknown outcome. */
  readonly doubtful = new Map<string, Settlement>()
  /** Each answers whether the row was written: an Error for its own fault, false when this process is not alive. */
  readonly registrations: WriteBatcher<NewTask, boolean | Error>
  /** Each answers whether the row was still this process's. */
  readonly completions: WriteBatcher<string, boolean>
  readonly #store: Store
  #ended = false
  #emptied: (() => void)[] = []
  #verdicts: { resolve(): void; reject(error: Error): void }[] = []

  constructor(store: Store, config: MonitorConfig) {
    this.#store = store
    this.lease = new Lease(config)
    this.registrations = new WriteBatcher(
      config.batchSize,
      (tasks) => this.#insert(tasks),
      // A statement can't take over a row that it has just written.
      ({ queue, jobRef }) => (jobRef === null ? null : `${queue}\0${jobRef}`),
    )
    this.completions = new WriteBatcher(config.batchSize, async (ids) => {
      const deleted = await deleteTasks(store, this.processId, ids)
      return ids.map((id) => deleted.has(id))
    })
  }

  get ended(): boolean {
    return this.#ended
  }

  /** Whether a drain has to wait: for tasks in flight, or for those whose end is not yet certain. */
  get #busy(): boolean {
    if (this.tasks.size > 0) return true
    for (const { kind } of this.doubtful.values()) if (kind !== 'unregister') return true
    return false
  }

  /** Whether the id stands for a task of this incarnation whose end is not certain. */
  knows(taskId: string): boolean {
    return this.tasks.has(taskId) || this.pending.has(taskId) || this.doubtful.has(taskId)
  }

  /** The task is no longer in flight here; `settlement` says what is still owed to the database. */
  forget(taskId: string, settlement?: Settlement): void {
    this.tasks.delete(taskId)
    if (settlement === undefined || this.#ended) this.doubtful.delete(taskId)
    else this.doubtful.set(taskId, settlement)
    // Nobody waits most of the time, and an outage can leave many that are doubtful.
    if (this.#emptied.length === 0 || this.#busy) return
    for (const resolve of this.#emptied.splice(0)) resolve()
  }

  /** The task was completed in a transaction of the caller's. */
  awaitCommit(taskId: string): void {
    const controller = this.tasks.get(taskId)
    if (controller !== undefined) this.pending.set(taskId, controller)
    this.forget(taskId)
  }

  /** The caller's transaction was rolled back: the task is in flight again. */
  rolledBack(taskId: string): void {
    const controller = this.pending.get(taskId)
    if (controller === undefined) return
    this.pending.delete(taskId)
    this.tasks.set(taskId, controller)
  }

  whenEmpty(): Promise<void> {
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
    for (const controller of [...this.tasks.values(), ...this.pending.values()]) controller.abort(reason)
  }

  /** Ends this life: every handle aborts, everyone who waits is told. */
  end(reason: Error): void {
    this.#ended = true
    this.abort(reason)
    for (const { reject } of this.#verdicts.splice(0)) reject(reason)
    this.pending.clear()
    for (const id of [...this.tasks.keys(), ...this.doubtful.keys()]) this.forget(id)
  }

  lost(): TaskLostError {
    return new TaskLostError(
      `Process ${this.processId} was declared dead or has stopped: its tasks are recovered elsewhere. Discard the result.`,
    )
  }

  async #insert(tasks: readonly NewTask[]): Promise<readonly (boolean | Error)[]> {
    try {
      const written = await insertTasks(this.#store, this.processId, tasks)
      return tasks.map(() => written > 0)
    } catch (error) {
      // The database named a value as wrong, so nothing was written: find the task at fault, spare the others.
      const kind = this.#store.dialect.errorKind(error)
      if (kind !== 'bad-value' && kind !== 'duplicate') throw error
      if (tasks.length === 1) {
        const message = `The database refused task ${tasks[0]!.id}: ${messageOf(error)}`
        return [new PayloadError(message, { cause: error })]
      }
      const middle = Math.ceil(tasks.length / 2)
      return [...(await this.#insert(tasks.slice(0, middle))), ...(await this.#insert(tasks.slice(middle)))]
    }
  }
}
