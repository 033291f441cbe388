import { NotProtectedError, TaskLostError } from './errors.js'
import { fullTaskId } from './identity.js'
import type { NewTask } from './store/new-tasks.js'
import type { CompleteOptions, Settled, TaskHandle } from './task-handle.js'

/** A task that runs although it could not be registered: nothing of it is in the database, so it ends here alone. */
export class UnprotectedHandle implements TaskHandle {
  readonly id: string
  readonly fullId: string
  readonly queue: string
  readonly jobRef: string | null
  readonly protected = false
  /** Never aborts: there is no lease that could be lost. */
  readonly signal: AbortSignal = new AbortController().signal
  #ended = false

  constructor({ id, queue, jobRef }: NewTask, processId: string) {
    this.id = id
    this.fullId = fullTaskId(processId, id)
    this.queue = queue
    this.jobRef = jobRef
  }

  get open(): boolean {
    return !this.#ended
  }

  /** See `TaskMonitor.settle`. */
  async settle(): Promise<Settled> {
    return this.#ended ? 'ended' : 'open'
  }

  lost(): TaskLostError {
    return new TaskLostError(`Task ${this.fullId} was completed before. Discard the result.`)
  }

  /** In a transaction it ends nothing: there is no row that could tell whether that commits. */
  async complete({ trx }: CompleteOptions = {}): Promise<void> {
    if (this.#ended) throw this.lost()
    this.#ended = trx === undefined
  }

  async release(): Promise<void> {
    throw new NotProtectedError(
      `Task ${this.fullId} runs unprotected, so it can't be given back: let its queue retry it.`,
    )
  }

  async confirm(): Promise<void> {}
}
