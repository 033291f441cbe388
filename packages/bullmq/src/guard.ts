import { setTimeout as delay } from 'node:timers/promises'
import {
  DatabaseError,
  LeaseExpiredError,
  type Monitor,
  NotStartedError,
  StoppedError,
  type TaskHandle,
  TaskLostError,
} from '@holdfast/core'
import { keysOf, type WorkerInternals } from './bullmq.js'
import { GuardedRuns } from './guarded-runs.js'
import { failureSettings, type GuardPayload } from './payloads.js'

/** Milliseconds between tries to register while the database is away. */
const RETRY = 250

/** What stands for a worker. */
interface Cover {
  /** Nobody waits for it: what fails is told, and tried again. */
  readonly isAnew: boolean
  row?: Promise<TaskHandle | undefined>
  /** It may run, be it that the monitor says to run without. */
  ready?: Promise<unknown>
}

/** Keeps one task row for each guarded worker: it stands for whatever the worker has locked. */
export class Guard {
  readonly #queue: string
  readonly #monitor: Promise<Monitor>
  readonly #rows = new Map<WorkerInternals, Cover>()
  readonly #runs = new GuardedRuns()
  #stopping = false

  /** @param queue the adapter's name */
  constructor(queue: string, monitor: Promise<Monitor>) {
    this.#queue = queue
    this.#monitor = monitor
    void monitor.then((started) => {
      // What was handed over is others'.
      started.on('stopped', () => void this.#runs.abortLost())
    })
  }

  /** Resolves once the worker is protected, or is closed. */
  async protect(worker: WorkerInternals): Promise<void> {
    if (!this.#rows.has(worker)) {
      this.#runs.watch(worker)
      this.#cover(worker, false)
      worker.once('closed', () => void this.#end(worker).catch((error) => worker.emit('error', error)))
    }
    await this.#rows.get(worker)?.ready
  }

  /** This process was declared dead: what its workers ran is run elsewhere, and what they fetch now has a new row. */
  evicted(): void {
    this.#runs.abortAll()
    for (const worker of this.#rows.keys()) this.#cover(worker, true)
  }

  #cover(worker: WorkerInternals, isAnew: boolean): void {
    const cover: Cover = { isAnew }
    this.#rows.set(worker, cover)
    const unprotected = new Promise<void>((resolve) => {
      cover.row = this.#register(worker, cover, resolve)
    })
    cover.ready = Promise.race([cover.row, unprotected])
    cover.row!.catch((error) => worker.emit('error', error))
  }

  /** Closes the workers, and waits for what they run until `signal` aborts. */
  async stop(signal: AbortSignal): Promise<void> {
    this.#stopping = true
    const closed = Promise.all([...this.#rows.keys()].map((worker) => worker.close()))
    const over = new Promise<void>((resolve) => {
      if (signal.aborted) resolve()
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    await Promise.race([closed, over])
  }

  /** What it had locked to the end, if anything, is given back at once. */
  async #end(worker: WorkerInternals): Promise<void> {
    const cover = this.#rows.get(worker)
    this.#rows.delete(worker)
    await (await cover?.row)?.release().catch((error) => {
      if (!TaskLostError.is(error)) throw error // Recovered already.
    })
  }

  async #register(
    worker: WorkerInternals,
    cover: Cover,
    runsUnprotected: () => void,
  ): Promise<TaskHandle | undefined> {
    const monitor = await this.#monitor
    const payload: GuardPayload = {
      ...{ kind: 'guard', keys: keysOf(worker), workerId: worker.id },
      settings: failureSettings(worker),
    }
    while (!worker.closed && !this.#stopping && this.#rows.get(worker) === cover) {
      try {
        const task = await monitor.register({ queue: this.#queue, payload })
        if (task.protected) return task
        await task.complete() // Nothing runs under it: the worker does without.
        runsUnprotected()
        await delay(monitor.config.heartbeatInterval)
      } catch (error) {
        if (StoppedError.is(error) || NotStartedError.is(error)) return undefined
        const isPassing = DatabaseError.is(error) || LeaseExpiredError.is(error) || TaskLostError.is(error)
        if (!isPassing && !cover.isAnew) throw error
        if (!isPassing) worker.emit('error', error as Error)
        await delay(isPassing ? RETRY : monitor.config.heartbeatInterval)
      }
    }
    return undefined
  }
}
