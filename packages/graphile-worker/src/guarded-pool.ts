import { setMaxListeners } from 'node:events'
import type { Monitor, TaskHandle } from '@holdfast/core'
import type { WorkerPool } from 'graphile-worker'
import { EndedJobs } from './ended-jobs.js'
import { type FetchedJob, isLockTime } from './fetched-job.js'
import { type LockedJob, PAUSE } from './job-sql.js'
import { notify } from './notify.js'
import type { Delivery } from './protected-task.js'
import type { Run } from './run.js'
import { RunningJobs } from './running-jobs.js'

/** A worker pool under guard. */
export class GuardedPool {
  readonly pool: WorkerPool
  /** It fetches jobs ahead of running them, so that only a row of its own says of a job that it has begun. */
  readonly marksStarts: boolean
  /** What its jobs are locked by. */
  readonly lockIds: Set<string>
  readonly ended = new EndedJobs()
  readonly jobs = new RunningJobs()
  #fetchFailedAt = Number.POSITIVE_INFINITY
  /** Fetches that were given back before this pool heard of them. */
  readonly #disowned = new Set<string>()
  readonly #closing = new AbortController()
  readonly #handOffs = new Set<Promise<void>>()
  /** By fetch; handed-off ones too. */
  readonly #underWay = new Map<string, Delivery>()
  /** Milliseconds by which graphile-worker has surely written what it was told of a job. */
  readonly pauseMs: number
  /** The task that the pool fetches under; it says whether a job that the pool began is still its own. */
  task!: Promise<TaskHandle>
  #cover: Promise<TaskHandle> | undefined
  #jobs = new AbortController()
  /** The monitor that protects it, also when that has stopped meanwhile. */
  monitor: Monitor | undefined
  /** Its connections, from when its first worker starts. */
  run: Run | undefined
  /**
   * Whether graphile-worker may be unable to write the end of a job: its connections broke or are about to be closed. The
   * end is then written, and proved to be, before graphile-worker hears of it: what it fails to write ends its worker, or
   * the process.
   */
  doubtful = false

  /** @param failureDelay milliseconds for which graphile-worker collects failures before it writes them */
  constructor(pool: WorkerPool, marksStarts: boolean, failureDelay = 0) {
    this.pool = pool
    this.pauseMs = PAUSE + Math.max(0, failureDelay)
    this.marksStarts = marksStarts
    this.lockIds = new Set([pool.id])
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
    return aborted(this.closing)
  }

  close(): void {
    this.doubtful = true
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

  /**
   * A fetch failed. The database may have carried it out all the same: then a job is locked that nobody was told of.
   * What a pool fetches ahead is not looked for; it may lie there for long.
   */
  fetchFailed(): void {
    if (!this.marksStarts) this.#fetchFailedAt = performance.now()
  }

  /** Whether a fetch failed, `ms` milliseconds ago at least. */
  hadFailedFetch(ms: number): boolean {
    return this.#fetchFailedAt <= performance.now() - ms
  }

  fetchSettled(): void {
    this.#fetchFailedAt = Number.POSITIVE_INFINITY
  }

  /** Will not begin a job of which it has not heard yet. False: it has. */
  disown(job: LockedJob): boolean {
    const hasEnded = this.ended.olderThan(0).some((end) => end.id === job.id && isLockTime(end, job.lockedAt))
    if (hasEnded || this.jobs.has(job.id, job.lockedAt)) return false
    this.#disowned.add(fetchOf(job))
    return true
  }

  /** Whether it was, asked once. */
  wasDisowned(job: FetchedJob): boolean {
    return this.#disowned.delete(fetchOf(job))
  }

  /** The delivery of a fetch whose work is under way here. */
  underWay(job: FetchedJob): Delivery | undefined {
    return this.#underWay.get(fetchOf(job))
  }

  /** Runs the work of a job, which counts as running meanwhile. */
  async running<T>(delivery: Delivery, work: () => Promise<T>): Promise<T> {
    const { job } = delivery
    this.#underWay.set(fetchOf(job), delivery)
    try {
      return await this.jobs.run(job, work)
    } finally {
      if (!delivery.handedOff) this.#underWay.delete(fetchOf(job))
    }
  }

  /** Work of this pool that goes on beside its workers. */
  addHandOff(delivery: Delivery, work: Promise<void>): void {
    this.#handOffs.add(work)
    void work.finally(() => {
      this.#handOffs.delete(work)
      this.#underWay.delete(fetchOf(delivery.job))
    })
  }

  /** Has pools look when a job that was given back may run: until then they find nothing. */
  wakeAfterPause(): void {
    const wake = (): void => void (this.run && notify(this.run, 1).catch(() => undefined)) // A poll finds it, too.
    setTimeout(wake, this.pauseMs + 10).unref()
  }

  async drained(over: AbortSignal): Promise<void> {
    if (!over.aborted) await Promise.race([Promise.allSettled(this.#handOffs), aborted(over)])
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

/** Tells a fetch; its attempts may be taken from it. */
const fetchOf = ({ id, attempts, lockedAt }: FetchedJob): string =>
  `${id}/${lockedAt ?? `attempt ${attempts}`}`

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
