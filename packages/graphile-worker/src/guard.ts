import { setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type Monitor,
  NotProtectedError,
  type RegisterOptions,
  StoppedError,
  type TaskHandle,
  TaskLostError,
} from '@holdfast/core'
import type { WorkerPool } from 'graphile-worker'
import { RETRY } from './before-work.js'
import type { FetchedJob } from './fetched-job.js'
import { Gate } from './gate.js'
import { GuardedPool } from './guarded-pool.js'
import type { EndedJob } from './job-sql.js'
import { Keeper } from './keeper.js'
import { type GuardPayload, type HandOffPayload, type StartedPayload, startedPayload } from './payloads.js'
import { releaseRow } from './release-row.js'
import type { GraphileTables } from './tables.js'
import type { ExhaustedPolicies } from './task-options.js'

/** Milliseconds between tries to protect a pool that runs unprotected. */
const PROTECT_LATER = 2_000

/** What stands for one job. */
export type JobPayload = StartedPayload | HandOffPayload

/** What the monitor is told of each job that has a row of its own. */
export type RowOptions = Pick<RegisterOptions, 'onCrash' | 'maxRuntime' | 'onOverdue' | 'signal'>

/** Jobs whose end is perhaps not written that a pool's last word tells of, so that it stays small. */
const MAX_ENDED = 200

export interface GuardParts {
  readonly queue: string
  readonly tables: GraphileTables
  readonly exhausted: ExhaustedPolicies
  /** Whether the monitor is in graphile-worker's own database. */
  readonly sameDatabase: boolean
}

/** Keeps one task row for each worker pool of this process: it stands for whatever the pool has locked. */
export class Guard {
  readonly #queue: string
  readonly #exhausted: ExhaustedPolicies
  readonly #sameDatabase: boolean
  readonly #pools = new Set<GuardedPool>()
  readonly #keeper: Keeper
  #monitor = new Gate<Monitor>()
  #running = false
  #registrations = 0
  /** Aborts when the drain of the monitor's stop is over. */
  #drained = unlimited(new AbortController())

  constructor({ queue, tables, exhausted, sameDatabase }: GuardParts) {
    this.#queue = queue
    this.#exhausted = exhausted
    this.#sameDatabase = sameDatabase
    this.#keeper = new Keeper(tables, this.#pools, async ({ monitor }, jobId) => {
      return (await monitor?.holderOf(jobId, queue)) !== undefined
    })
  }

  /** The monitor runs: pools that wait for it can be protected. */
  start(monitor: Monitor): void {
    this.#running = true
    this.#drained = unlimited(new AbortController())
    this.#monitor.open(monitor)
    const abortJobs = (): void => {
      for (const guarded of this.#pools) guarded.abortJobs()
    }
    monitor.on('leaseExpired', abortJobs)
    monitor.on('evicted', abortJobs)
    monitor.on('heartbeatFailed', () => {
      for (const guarded of this.#pools) guarded.doubtful = true
    })
  }

  /** Whether the monitor runs, so that a worker needn't wait for it. */
  get running(): boolean {
    return this.#running
  }

  /** The guarded pool whose jobs have this lock. */
  of(lockId: string | null): GuardedPool | undefined {
    if (lockId !== null) for (const guarded of this.#pools) if (guarded.lockIds.has(lockId)) return guarded
    return undefined
  }

  ofPool(pool: WorkerPool): GuardedPool | undefined {
    return this.of(pool.id)
  }

  /** Begins to protect a pool; its workers wait for `ready` before they fetch. */
  protect(pool: WorkerPool, marksStarts: boolean, failureDelay: number): void {
    if (this.ofPool(pool) !== undefined) return
    const guarded = new GuardedPool(pool, marksStarts, failureDelay)
    this.#pools.add(guarded)
    guarded.fetchUnder(this.#register(guarded, guarded.closing))
    this.#keeper.start()
  }

  /**
   * Resolves once the pool is protected. A worker that doesn't wait would take jobs that nobody could recover.
   *
   * @throws Error when it isn't and won't be
   */
  async ready(pool: WorkerPool): Promise<GuardedPool> {
    const guarded = this.ofPool(pool)
    if (guarded === undefined) throw new Error(`Worker pool ${pool.id} is not protected.`)
    await guarded.task
    return guarded
  }

  /** Registers a job of a protected pool. */
  async register(
    guarded: GuardedPool,
    { id: jobRef, lockedAt }: FetchedJob,
    payload: JobPayload,
    options: RowOptions,
  ): Promise<TaskHandle> {
    await guarded.task
    const attempt = lockedAt ?? 0
    return guarded.monitor!.register({ ...options, queue: this.#queue, jobRef, attempt, payload })
  }

  /** Has a job's end written by recovery: for when the pool's own connections are closed. */
  async settle(guarded: GuardedPool, { failure, ...job }: EndedJob): Promise<void> {
    const end = failure === undefined ? { finished: true as const } : { failure }
    const payload: StartedPayload = { ...startedPayload(job), ...end }
    const task = await guarded.monitor!.register({ queue: this.#queue, payload })
    try {
      await task.release()
    } finally {
      if (!task.protected) await task.complete()
    }
  }

  /** Waits for the pool's handed-off work, which still needs its connections; no longer than the drain. */
  async drain(pool: WorkerPool): Promise<void> {
    const guarded = this.ofPool(pool)
    await guarded?.drained(this.#drained.signal)
    if (guarded !== undefined) await this.#keeper.settle(guarded, 0)
  }

  /** The pool has ended: what it still has locked, if anything, is given back at once. */
  async end(pool: WorkerPool): Promise<void> {
    const guarded = this.ofPool(pool)
    if (guarded === undefined) return
    this.#pools.delete(guarded)
    if (this.#pools.size === 0) this.#keeper.stop()
    guarded.close()
    const row = await guarded.current
    try {
      if (row !== undefined) await releaseRow(row, this.#lastWords(guarded))
    } catch (error) {
      // When it is lost, what the pool held is recovered already.
      if (!TaskLostError.is(error) && !NotProtectedError.is(error)) throw error
    }
  }

  /**
   * This process was declared dead: its pools take no more jobs, and what they hold until they have ended is protected
   * under the new identity. The jobs they run end in an error, so that their rows are left to whoever has them.
   */
  async evicted(): Promise<void> {
    const pools = [...this.#pools]
    for (const guarded of pools) guarded.coverBy(this.#register(guarded, this.#drained.signal))
    await this.#shutDown(pools, 'Holdfast: this process was declared dead; its jobs are recovered elsewhere')
  }

  /** The monitor stops: no pool may go on without it. */
  async stop(drainOver: AbortSignal): Promise<void> {
    this.#running = false
    this.#monitor = new Gate()
    const pools = [...this.#pools]
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

  /** The more jobs it tells of, the better; as many as are taken. */
  *#lastWords(guarded: GuardedPool): Generator<GuardPayload> {
    const payload = this.#payloadOf(guarded)
    for (let most = MAX_ENDED; most >= 1; most /= 2) {
      yield { ...payload, ended: guarded.ended.latest(Math.floor(most)) }
    }
    yield payload
  }

  #payloadOf({ lockIds, marksStarts }: GuardedPool): GuardPayload {
    return { kind: 'guard', lockIds: [...lockIds], marksStarts, onExhausted: this.#exhausted }
  }

  async #register(guarded: GuardedPool, until: AbortSignal): Promise<TaskHandle> {
    // From here on later than the making of the pool, and of its workers with it.
    guarded.monitor = await this.#monitor.valueUntil(until)
    for (;;) {
      try {
        const task = await this.#write(guarded)
        if (task.protected) return task
        // The monitor is to do without its database, which is graphile-worker's own, or is not.
        if (!this.#sameDatabase) {
          void this.#protectLater(guarded)
          return task
        }
      } catch (error) {
        if (until.aborted || StoppedError.is(error)) throw error
      }
      await delay(RETRY)
    }
  }

  async #write(guarded: GuardedPool): Promise<TaskHandle> {
    this.#registrations += 1
    const task = await guarded.monitor!.register({
      queue: this.#queue,
      // Sorts after every UUID. A new one for each try: the row of a failed one may be there all the same. And no jobRef,
      // which would take over the row of the old identity, so that what it stands for was not recovered.
      id: `${guarded.pool.id}:${this.#registrations}`,
      payload: this.#payloadOf(guarded),
    })
    // Without a row nothing is counted under it: a stop waits for the pool itself.
    if (!task.protected) await task.complete()
    return task
  }

  /** Never rejects. */
  async #protectLater(guarded: GuardedPool): Promise<void> {
    const { closing } = guarded
    for (;;) {
      await delay(PROTECT_LATER, undefined, { signal: closing, ref: false }).catch(() => undefined)
      if (closing.aborted) return
      const task = await this.#write(guarded).catch(() => undefined)
      if (task?.protected !== true) continue
      if (closing.aborted) await task.complete().catch(() => undefined)
      else guarded.fetchUnder(Promise.resolve(task))
      return
    }
  }
}

/** Every worker of every pool listens at the end. */
function unlimited(controller: AbortController): AbortController {
  setMaxListeners(0, controller.signal)
  return controller
}
