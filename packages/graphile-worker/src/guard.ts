import { setTimeout as delay } from 'node:timers/promises'
import type { TaskHandle, TaskMonitor } from '@holdfast/core'
import type { WorkerPool } from 'graphile-worker'
import type { GuardPayload, StartedPayload } from './payloads.js'

/** Milliseconds between attempts to protect a pool. */
const RETRY = 500

interface GuardedPool {
  readonly pool: WorkerPool
  readonly marksStarts: boolean
  /** Aborts when the pool takes no more jobs. */
  readonly closing: AbortController
  /** The pool's task under the present incarnation; waits until it is registered. */
  task: Promise<TaskHandle>
}

/** A value that is waited for. */
class Gate<T> {
  open!: (value: T) => void
  readonly value = new Promise<T>((resolve) => {
    this.open = resolve
  })
}

/** Keeps one task row for each worker pool of this process: it stands for whatever the pool has locked. */
export class Guard {
  readonly #queue: string
  readonly #pools = new Map<string, GuardedPool>()
  #monitor = new Gate<TaskMonitor>()
  #running = false

  constructor(queue: string) {
    this.#queue = queue
  }

  /** The monitor runs: pools that wait for it can be protected. */
  start(monitor: TaskMonitor): void {
    this.#running = true
    this.#monitor.open(monitor)
  }

  /** Whether the monitor runs, so that a worker needn't wait for it. */
  get running(): boolean {
    return this.#running
  }

  /** Waits until the monitor has started. */
  monitor(): Promise<TaskMonitor> {
    return this.#monitor.value
  }

  /** Begins to protect a pool; its workers wait for `ready` before they fetch. */
  protect(pool: WorkerPool, marksStarts: boolean): void {
    if (this.#pools.has(pool.id)) return
    const closing = new AbortController()
    const task = this.#register(pool.id, marksStarts, closing.signal)
    this.#pools.set(pool.id, { pool, marksStarts, closing, task })
    task.catch(() => undefined) // Whoever waits in `ready` has the error.
  }

  /** Resolves once the pool is protected. A worker that doesn't wait would take jobs that nobody could recover. */
  async ready(pool: WorkerPool): Promise<void> {
    await this.#pools.get(pool.id)?.task
  }

  /** The task that protects what `lockId` holds, or undefined when its pool isn't guarded. */
  async taskOf(lockId: string | null): Promise<TaskHandle | undefined> {
    return lockId === null ? undefined : this.#pools.get(lockId)?.task
  }

  marksStarts(lockId: string | null): boolean {
    return lockId !== null && this.#pools.get(lockId)?.marksStarts === true
  }

  /** Aborts when the pool that holds `lockId` takes no more jobs. */
  closing(lockId: string | null): AbortSignal | undefined {
    return lockId === null ? undefined : this.#pools.get(lockId)?.closing.signal
  }

  /** The pool is shutting down. */
  close(pool: WorkerPool): void {
    this.#pools.get(pool.id)?.closing.abort()
  }

  /** The pool has ended: what it still has locked, if anything, is given back at once. */
  async end(pool: WorkerPool): Promise<void> {
    const guarded = this.#pools.get(pool.id)
    if (guarded === undefined) return
    this.#pools.delete(pool.id)
    guarded.closing.abort()
    const task = await guarded.task.catch(() => undefined) // It never was protected, so nothing is to be given back.
    try {
      await task?.release()
    } catch (error) {
      // Then what the pool held is recovered already.
      if (codeOf(error) !== 'HOLDFAST_TASK_LOST') throw error
    }
  }

  /** Marks that a job's handler begins, for pools that lock jobs long before. */
  async markStart(jobId: string, lockId: string): Promise<TaskHandle> {
    const monitor = await this.monitor()
    const payload: StartedPayload = { kind: 'started', jobId, lockId }
    return monitor.register({ queue: this.#queue, jobRef: jobId, payload })
  }

  /**
   * This process was declared dead: its pools are protected under its new identity and take no more jobs. A job
   * that one of them runs on ends in an error, and its row is no longer that pool's to change.
   */
  async evicted(): Promise<void> {
    const all = [...this.#pools.values()]
    for (const guarded of all) {
      guarded.task = this.#register(guarded.pool.id, guarded.marksStarts, new AbortController().signal)
    }
    await Promise.all(all.map(({ task }) => task))
    await this.#shutDown(all, 'Holdfast: this process was declared dead; its jobs are recovered elsewhere')
  }

  /** The monitor stops: no pool may go on without it. */
  async stop(): Promise<void> {
    this.#running = false
    this.#monitor = new Gate()
    await this.#shutDown([...this.#pools.values()], 'Holdfast: the monitor stops')
  }

  async #shutDown(pools: readonly GuardedPool[], message: string): Promise<void> {
    for (const { pool, closing } of pools) {
      if (!closing.signal.aborted) void Promise.resolve(pool.gracefulShutdown(message)).catch(() => undefined)
    }
    // How a pool ended is told to whoever runs it, by runner.promise.
    await Promise.allSettled(pools.map(({ pool }) => pool.promise))
    await Promise.all(pools.map(({ pool }) => this.end(pool)))
  }

  async #register(lockId: string, marksStarts: boolean, given: AbortSignal): Promise<TaskHandle> {
    const monitor = await abortable(this.monitor(), given)
    const payload: GuardPayload = { kind: 'guard', lockIds: [lockId], marksStarts }
    for (;;) {
      try {
        // No jobRef: under a new identity the old row must stay, so that what it stands for is recovered.
        return await monitor.register({ queue: this.#queue, id: lockId, payload })
      } catch (error) {
        if (given.aborted || isFinal(error)) throw error
        await delay(RETRY)
      }
    }
  }
}

const FINAL: ReadonlySet<unknown> = new Set(['HOLDFAST_STOPPED', 'HOLDFAST_CONFIG'])

const isFinal = (error: unknown): boolean => FINAL.has(codeOf(error))

const codeOf = (error: unknown): unknown =>
  typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined

function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () =>
      reject(new Error('The worker pool closed before it was protected.')),
    )
    promise.then(resolve, reject)
  })
}
