import { setMaxListeners } from 'node:events'
import type { TaskHandle, TaskMonitor } from '@holdfast/core'
import type { WorkerPool } from 'graphile-worker'

/** How many finished jobs are remembered: more than a pool can have in the middle of being removed. */
const MAX_FINISHED = 10_000

/** A worker pool under guard. */
export class GuardedPool {
  readonly pool: WorkerPool
  readonly marksStarts: boolean
  readonly #closing = new AbortController()
  readonly #handOffs = new Set<Promise<void>>()
  readonly #finished = new Set<string>()
  /** The task that the pool fetches under; it says whether a job that the pool began is still its own. */
  task!: Promise<TaskHandle>
  #cover: Promise<TaskHandle> | undefined
  #jobs = new AbortController()
  /** The monitor that protects it, also when that has stopped meanwhile. */
  monitor: TaskMonitor | undefined

  constructor(pool: WorkerPool, marksStarts: boolean) {
    this.pool = pool
    this.marksStarts = marksStarts
    // Every job that waits for a place listens.
    setMaxListeners(0, this.#closing.signal)
  }

  fetchUnder(task: Promise<TaskHandle>): void {
    this.task = task
    task.catch(() => undefined) // Whoever waits until the pool is protected has the error.
  }

  /** After an eviction: protects what the pool holds until it has ended. */
  coverBy(task: Promise<TaskHandle>): void {
    this.#cover = task
    task.catch(() => undefined) // As above.
  }

  /** The task that stands for what the pool holds now; undefined when it never was protected. */
  get current(): Promise<TaskHandle | undefined> {
    return (this.#cover ?? this.task).catch(() => undefined)
  }

  /** Aborts when the pool takes no more jobs. */
  get closing(): AbortSignal {
    return this.#closing.signal
  }

  /** Resolves when the pool takes no more jobs. */
  get closed(): Promise<void> {
    if (this.closing.aborted) return Promise.resolve()
    return new Promise((resolve) => this.closing.addEventListener('abort', () => resolve(), { once: true }))
  }

  close(): void {
    this.#closing.abort()
  }

  /** Aborts for the jobs that run now when their process is no longer believed alive, or shall end. */
  get jobSignal(): AbortSignal {
    return this.#jobs.signal
  }

  /** Jobs that begin later are not concerned: the pool goes on when the lease does. */
  abortJobs(): void {
    const running = this.#jobs
    this.#jobs = new AbortController()
    running.abort(new Error('Holdfast: this process stops, or may soon be taken for dead; end this job.'))
  }

  noteBegun(jobId: string): void {
    this.#finished.delete(jobId)
  }

  /** The job's handler ended well; graphile-worker removes its row, sooner or later. */
  noteFinished(jobId: string): void {
    this.#finished.add(jobId)
    if (this.#finished.size > MAX_FINISHED) this.#finished.delete(this.#finished.values().next().value!)
  }

  get finished(): readonly string[] {
    return [...this.#finished]
  }

  /** Work of this pool that goes on beside its workers. */
  addHandOff(work: Promise<void>): void {
    this.#handOffs.add(work)
    void work.finally(() => this.#handOffs.delete(work))
  }

  async drained(over: AbortSignal): Promise<void> {
    if (over.aborted) return
    const timedOut = new Promise<void>((resolve) =>
      over.addEventListener('abort', () => resolve(), { once: true }),
    )
    await Promise.race([Promise.allSettled(this.#handOffs), timedOut])
  }

  /** Resolves when the pool has ended. How it ended is told to whoever runs it, by `runner.promise`. */
  async shutDown(message: string): Promise<void> {
    if (!this.closing.aborted) {
      this.close()
      Promise.resolve(this.pool.gracefulShutdown(message)).catch(() => undefined)
    }
    await Promise.allSettled([this.pool.promise])
  }
}
