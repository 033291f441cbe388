import { setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { StoppedError, type TaskHandle, TaskLostError, type TaskMonitor } from '@holdfast/core'
import type { WorkerPool } from 'graphile-worker'
import { Gate } from './gate.js'
import { GuardedPool } from './guarded-pool.js'
import type { GuardPayload, HandOffPayload, StartedPayload } from './payloads.js'

/** What stands for one job. */
export type JobPayload = StartedPayload | HandOffPayload

/** Milliseconds between attempts to protect a pool. */
const RETRY = 500

/** Keeps one task row for each worker pool of this process: it stands for whatever the pool has locked. */
export class Guard {
  readonly #queue: string
  readonly #pools = new Map<string, GuardedPool>()
  #monitor = new Gate<TaskMonitor>()
  #running = false
  #registrations = 0
  /** Aborts when the drain of the monitor's stop is over. */
  #drained = unlimited(new AbortController())

  constructor(queue: string) {
    this.#queue = queue
  }

  /** The monitor runs: pools that wait for it can be protected. */
  start(monitor: TaskMonitor): void {
    this.#running = true
    this.#drained = unlimited(new AbortController())
    this.#monitor.open(monitor)
    const abortJobs = (): void => {
      for (const guarded of this.#pools.values()) guarded.abortJobs()
    }
    monitor.on('leaseExpired', abortJobs)
    monitor.on('evicted', abortJobs)
  }

  /** Whether the monitor runs, so that a worker needn't wait for it. */
  get running(): boolean {
    return this.#running
  }

  /** The guarded pool that `lockId` belongs to. */
  of(lockId: string | null): GuardedPool | undefined {
    return lockId === null ? undefined : this.#pools.get(lockId)
  }

  /** Begins to protect a pool; its workers wait for `ready` before they fetch. */
  protect(pool: WorkerPool, marksStarts: boolean): void {
    if (this.#pools.has(pool.id)) return
    const guarded = new GuardedPool(pool, marksStarts)
    this.#pools.set(pool.id, guarded)
    guarded.fetchUnder(this.#register(guarded, guarded.closing))
  }

  /** Resolves once the pool is protected. A worker that doesn't wait would take jobs that nobody could recover. */
  async ready(pool: WorkerPool): Promise<void> {
    await this.#pools.get(pool.id)?.task
  }

  /** Registers a job of a protected pool. */
  async register(guarded: GuardedPool, jobRef: string, payload: JobPayload): Promise<TaskHandle> {
    await guarded.task
    return guarded.monitor!.register({ queue: this.#queue, jobRef, payload })
  }

  /** The pool is shutting down. */
  close(pool: WorkerPool): void {
    this.#pools.get(pool.id)?.close()
  }

  /** Waits for the pool's handed-off work, which still needs its connections; no longer than the drain. */
  async drain(pool: WorkerPool): Promise<void> {
    await this.#pools.get(pool.id)?.drained(this.#drained.signal)
  }

  /** The pool has ended: what it still has locked, if anything, is given back at once. */
  async end(pool: WorkerPool): Promise<void> {
    const guarded = this.#pools.get(pool.id)
    if (guarded === undefined) return
    this.#pools.delete(pool.id)
    guarded.close()
    const payload: GuardPayload = { ...this.#payloadOf(guarded), finished: guarded.finished }
    try {
      await (await guarded.current)?.release({ payload })
    } catch (error) {
      // When it is lost, what the pool held is recovered already.
      if (!TaskLostError.is(error)) throw error
    }
  }

  /**
   * This process was declared dead: its pools take no more jobs, and what they hold until they have ended is protected
   * under the new identity. The jobs they run end in an error, so that their rows are left to whoever has them.
   */
  async evicted(): Promise<void> {
    const pools = [...this.#pools.values()]
    for (const guarded of pools) guarded.coverBy(this.#register(guarded, this.#drained.signal))
    await this.#shutDown(pools, 'Holdfast: this process was declared dead; its jobs are recovered elsewhere')
  }

  /** The monitor stops: no pool may go on without it. */
  async stop(drainOver: AbortSignal): Promise<void> {
    this.#running = false
    this.#monitor = new Gate()
    const pools = [...this.#pools.values()]
    const over = (): void => {
      this.#drained.abort()
      for (const guarded of pools) guarded.abortJobs()
    }
    drainOver.addEventListener('abort', over, { once: true })
    await this.#shutDown(pools, 'Holdfast: the monitor stops')
  }

  async #shutDown(pools: readonly GuardedPool[], message: string): Promise<void> {
    await Promise.all(
      pools.map(async (guarded) => {
        await guarded.shutDown(message)
        await this.end(guarded.pool)
      }),
    )
  }

  #payloadOf({ pool, marksStarts }: GuardedPool): GuardPayload {
    return { kind: 'guard', lockIds: [pool.id], marksStarts }
  }

  async #register(guarded: GuardedPool, until: AbortSignal): Promise<TaskHandle> {
    const monitor = await this.#monitor.valueUntil(until)
    guarded.monitor = monitor
    for (;;) {
      this.#registrations += 1
      try {
        return await monitor.register({
          queue: this.#queue,
          // Sorts after every UUID. A new one for each try: the row of a failed one may be there all the same. And no
          // jobRef, which would take over the row of the old identity, so that what it stands for was not recovered.
          id: `${guarded.pool.id}:${this.#registrations}`,
          payload: this.#payloadOf(guarded),
        })
      } catch (error) {
        if (until.aborted || StoppedError.is(error)) throw error
        await delay(RETRY)
      }
    }
  }
}

/** Every worker of every pool listens at the end. */
function unlimited(controller: AbortController): AbortController {
  setMaxListeners(0, controller.signal)
  return controller
}
