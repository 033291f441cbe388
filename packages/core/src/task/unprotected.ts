import { NotProtectedError, TaskLostError } from '../errors.js'
import { fullTaskId } from '../identity.js'
import type { TaskIdentity } from './new-task.js'
import type { Running } from './running.js'
import type { CompleteOptions, Settled, TaskHandle } from './task-handle.js'

/** A task that runs although it could not be registered: nothing of it is in the database, so it ends here alone. */
export class UnprotectedTask implements TaskHandle {
  readonly id: string
  readonly fullId: string
  readonly queue: string
  readonly jobRef: string | null
  readonly protected = false
  /** Aborts at the end of a drain and after its `maxRuntime`: there is no lease that could be lost. */
  readonly signal: AbortSignal
  readonly running: Running
  readonly #onEnd: (task: UnprotectedTask) => void
  #ended = false

  constructor(
    { id, queue, jobRef }: TaskIdentity,
    processId: string,
    running: Running,
    onEnd: (task: UnprotectedTask) => void,
  ) {
    this.id = id
    this.fullId = fullTaskId(processId, id)
    this.queue = queue
    this.jobRef = jobRef
    this.signal = running.controller.signal
    this.running = running
    this.#onEnd = onEnd
  }

  get open(): boolean {
    return !this.#ended
  }

  /** See `Monitor.settle`. */
  async settle(): Promise<Settled> {
    return this.#ended ? 'completed' : 'open'
  }

  async runs(): Promise<boolean> {
    return !this.#ended
  }

  lost(): TaskLostError {
    return new TaskLostError(`Task ${this.fullId} was completed before. Discard the result.`)
  }

  /**
   * In a transaction it is no longer counted or waited for, but not known to have ended: there is no row that could tell
   * whether that commits.
   */
  async complete({ trx }: CompleteOptions = {}): Promise<void> {
    if (this.#ended) throw this.lost()
    this.#ended = trx === undefined
    this.running.end()
    this.#onEnd(this)
  }

  async release(): Promise<void> {
    throw new NotProtectedError(
      `Task ${this.fullId} runs unprotected, so it can't be given back: let its queue retry it.`,
    )
  }

  async confirm(): Promise<void> {}
}

/** The tasks of this process that run unprotected. */
export class UnprotectedTasks {
  readonly #tasks = new Set<UnprotectedTask>()
  #waiting: (() => void)[] = []

  get size(): number {
    return this.#tasks.size
  }

  add(task: UnprotectedTask): void {
    this.#tasks.add(task)
  }

  ended(task: UnprotectedTask): void {
    this.#tasks.delete(task)
    if (this.#tasks.size === 0) for (const resolve of this.#waiting.splice(0)) resolve()
  }

  /** Resolves when none runs. */
  drained(): Promise<void> {
    return this.#tasks.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#waiting.push(resolve))
  }

  abort(reason: Error): void {
    for (const { running } of this.#tasks) running.controller.abort(reason)
  }
}
