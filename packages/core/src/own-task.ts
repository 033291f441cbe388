import { ConfigError, DatabaseError, TaskLostError } from './errors.js'
import type { Monitor } from './monitor.js'
import type { CompleteOptions, ReleaseOptions, Settled, TaskHandle } from './task/task-handle.js'

/**
 * For an adapter: the task of a job as its handler has it. What the handler does with it is what
 * becomes of the job, until it has settled, or has run out of time.
 */
export class OwnTask {
  /** For the handler. Its `release` takes no payload: that of the row is the adapter's. */
  readonly handle: TaskHandle
  readonly #task: TaskHandle
  readonly #monitor: Monitor
  /** What was called last that was not refused; of `complete({ trx })` nobody knows here whether it has held. */
  #endedBy: 'complete' | 'release' | undefined
  #running = 0
  #shut = false

  constructor(task: TaskHandle, monitor: Monitor) {
    this.#task = task
    this.#monitor = monitor
    const complete = (options?: CompleteOptions): Promise<void> =>
      this.#end('complete', () => task.complete(options))
    const release = async ({ payload }: ReleaseOptions = {}): Promise<void> => {
      if (payload !== undefined) {
        throw new ConfigError(
          "release({ payload }) of a job: the payload of its row is the adapter's. Leave it out.",
        )
      }
      await this.#end('release', () => task.release())
    }
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

  /** Its handler has given it back, or is about to: the job may begin elsewhere before this process has heard of it. */
  get isReleased(): boolean {
    return this.#endedBy === 'release'
  }

  /** Runs the handler. @throws what that threw, as `readable` makes it fit for the queue */
  async work<T>(handler: () => Promise<T>, readable: (thrown: unknown) => unknown): Promise<T> {
    this.#running += 1
    try {
      return await handler()
    } catch (error) {
      throw readable(error)
    } finally {
      this.#running -= 1
    }
  }

  /** What became of it; waits while that is up to a transaction. */
  became(): Promise<Settled> {
    return this.#monitor.settle(this.#task)
  }

  /** The same once and for all, the handler being over or out of time: what it says of the task from now on is refused. */
  outcome(): Promise<Settled> {
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
    this.#endedBy = by
    try {
      await end()
    } catch (error) {
      // One whose answer was lost is repeated until it is certain.
      if (!DatabaseError.is(error)) this.#endedBy = before
      throw error
    }
  }
}
