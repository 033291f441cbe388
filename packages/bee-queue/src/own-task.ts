import {
  type CompleteOptions,
  DatabaseError,
  type Monitor,
  type ReleaseOptions,
  type Settled,
  type TaskHandle,
  TaskLostError,
} from '@holdfast/core'
import { storableError } from './thrown.js'

/** What became of a job's task; `completed` and `released` by its handler. */
export type Outcome = Exclude<Settled, 'ended'> | 'completed' | 'released'

/** The task of a job as its handler has it: whether that completes it or gives it back is what becomes of the job. */
export class OwnTask {
  readonly handle: TaskHandle
  readonly #task: TaskHandle
  readonly #monitor: Monitor
  #running = 0
  /** What was called last that was not refused; of `complete({ trx })` nobody knows here whether it has held. */
  #endedBy: 'complete' | 'release' | undefined
  #shut = false

  constructor(task: TaskHandle, monitor: Monitor) {
    this.#task = task
    this.#monitor = monitor
    const complete = (options?: CompleteOptions): Promise<void> =>
      this.#end('complete', () => task.complete(options))
    const release = (options?: ReleaseOptions): Promise<void> =>
      this.#end('release', () => task.release(options))
    this.handle = new Proxy(task, {
      get(target, member) {
        if (member === 'complete') return complete
        if (member === 'release') return release
        const value = Reflect.get(target, member, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  }

  /** Its handler is at work. */
  get isRunning(): boolean {
    return this.#running > 0
  }

  /** Its handler has given it back. */
  get isReleased(): boolean {
    return this.#endedBy === 'release'
  }

  /** Runs the handler. @throws what that threw, as bee-queue can store it */
  async work<T>(handler: () => Promise<T>): Promise<T> {
    this.#running += 1
    try {
      return await handler()
    } catch (error) {
      throw storableError(error)
    } finally {
      this.#running -= 1
    }
  }

  /** What became of it; waits while that is up to a transaction. */
  async became(): Promise<Outcome> {
    const settled = await this.#monitor.settle(this.#task)
    if (settled !== 'ended') return settled
    return this.isReleased ? 'released' : 'completed'
  }

  /** The same once and for all, the handler being over or out of time: what it says of the task from now on is refused. */
  outcome(): Promise<Outcome> {
    this.#shut = true
    return this.became()
  }

  async #end(by: 'complete' | 'release', end: () => Promise<void>): Promise<void> {
    if (this.#shut) {
      throw new TaskLostError(
        `Task ${this.#task.fullId} was ended when its handler was over, or had run out of time. Discard the result.`,
      )
    }
    const before = this.#endedBy
    this.#endedBy = by // A job that is given back may begin before this process has heard that it was.
    try {
      await end()
    } catch (error) {
      // One whose answer was lost is repeated until it is certain.
      if (!DatabaseError.is(error)) this.#endedBy = before
      throw error
    }
  }
}
