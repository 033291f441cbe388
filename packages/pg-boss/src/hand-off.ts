import {
  LeaseExpiredError,
  Semaphore,
  type TaskHandle,
  TaskLostError,
  TaskOverdueError,
} from '@holdfast/core'
import type { BossJob } from './boss.js'
import { type Beginning, begin, type Delivery, expiryOf } from './delivery.js'
import { lockJobs } from './job-sql.js'
import { letGo, lostError } from './let-go.js'
import type { HandOffOptions } from './options.js'
import { patiently } from './patiently.js'
import { failureOf } from './payloads.js'
import type { ProtectedBoss, Running } from './protected-boss.js'
import { asBossDatabase, inTransaction } from './run.js'
import { settle } from './settle.js'

/** A job as the handler of `adapter.handOff()` gets it. */
export type HandedOffJob<Job extends BossJob = BossJob> = Job & {
  /** Aborts when the process is no longer believed alive, or when the drain of `monitor.stop()` is over. */
  readonly signal: AbortSignal
  /** Complete it with `{ trx }` to commit your effects and the end of the job together. */
  readonly task: TaskHandle
  /** Notes in the monitor's database that the work goes on (`progress_at`). @throws DatabaseError */
  reportProgress(): Promise<void>
}

/** Gets one job at a time, however many pg-boss fetched together. */
export type HandOffHandler<Job extends BossJob> = (job: HandedOffJob<Job>) => unknown

/** Has pg-boss see jobs as completed as soon as they are registered, while the work goes on in this process. */
export class HandOff<Job extends BossJob> {
  readonly #boss: ProtectedBoss
  readonly #handler: HandOffHandler<Job>
  readonly #rows: Omit<HandOffOptions, 'concurrency'>
  readonly #places: Semaphore

  constructor(boss: ProtectedBoss, handler: HandOffHandler<Job>, { concurrency, ...rows }: HandOffOptions) {
    this.#boss = boss
    this.#handler = handler
    this.#rows = rows
    this.#places = new Semaphore(concurrency)
  }

  /** Resolves when pg-boss may say that the jobs are completed: they are, or it would find nothing. */
  async begin(jobs: readonly Job[]): Promise<void> {
    const running = await this.#boss.running(jobs[0]!.name)
    // Registered before they wait for a place: they are active in pg-boss, and this process may die.
    const beginnings = await begin(this.#boss, running, jobs, {
      rows: this.#rows,
      payloadOf: (active) => ({ kind: 'handOff', ...active }),
    })
    const lost: BossJob[] = []
    await Promise.all(
      beginnings.map(async (beginning) => {
        if (!(await this.#take(running, await beginning))) lost.push((await beginning).job)
      }),
    )
    await letGo(this.#boss, running, lost)
    if (running.schema.fences && lost.length > 0) throw lostError(lost)
  }

  /** Waits for a place, takes the job over from pg-boss, and begins. False when it is not this process's any more. */
  async #take(running: Running, beginning: Beginning<Job>): Promise<boolean> {
    if (beginning.kind === 'lost') return false
    if (beginning.kind === 'refused') {
      const { job, active, error } = beginning
      const end = { kind: 'failed', error } as const
      const { lost, endedBefore } = await settle(this.#boss, running, [{ job, active, end }])
      return lost.length + endedBefore.length === 0
    }
    const { row, job } = beginning
    if (!(await this.#places.acquire(running.closing))) {
      await this.#quietly(job, () => row.release())
      return false
    }
    const taken = await this.#complete(beginning).catch(async (error) => {
      if (!TaskLostError.is(error)) this.#boss.report(error)
      await this.#quietly(job, () => row.release())
      return false
    })
    if (!taken) {
      this.#places.release()
      return false
    }
    void this.#work(running, beginning).finally(() => this.#places.release())
    return true
  }

  /**
   * Completes the job in pg-boss. Not before that is certain may the handler begin: a job that is active still runs again
   * when it expires, also after its end. One that is completed already was so by a try of unknown outcome.
   */
  #complete({ row, job, active }: Delivery<Job>): Promise<boolean> {
    const { boss, db, tables } = this.#boss.parts
    const complete = async (): Promise<boolean> => {
      await row.confirm()
      return inTransaction(db, async (run, trx) => {
        const [found] = await lockJobs(run, tables, [active], { wait: true })
        if (!found?.sameAttempt) return false
        if (found.state === 'active')
          await boss.complete(job.name, job.id, undefined, { db: asBossDatabase(trx) })
        return found.state === 'active' || found.state === 'completed'
      })
    }
    return patiently(async () => {
      if (await complete()) return true
      await row.complete()
      return false
    }, expiryOf(job))
  }

  /** Runs the handler to its end and says how it ended. Never throws: nobody is left to catch. */
  async #work(running: Running, { row, stored, job }: Delivery<Job>): Promise<void> {
    const { monitor } = running
    const reportProgress = async (): Promise<void> => {
      await monitor.updateHeartbeats([row])
    }
    let end = (): Promise<void> => row.complete()
    try {
      await this.#handler({ ...job, signal: row.signal, task: row, reportProgress })
    } catch (error) {
      end = () => this.#fail(row, stored, error)
    }
    await this.#quietly(job, async () => {
      if ((await monitor.settle(row)) === 'open') await end()
    })
  }

  /** The job's own retry rules say what becomes of it; recovery applies them. */
  async #fail(row: TaskHandle, stored: Delivery['stored'], error: unknown): Promise<void> {
    const { aborted, reason } = row.signal
    if (!aborted || TaskOverdueError.is(reason)) {
      await row.release({ payload: { ...stored, failure: failureOf(error) } })
    } else if (LeaseExpiredError.is(reason)) {
      // Cut short, not failed: the job keeps its attempt.
      await row.release()
    }
  }

  /** What is lost is another's: nothing is to be done about it here. */
  async #quietly(job: Job, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (TaskLostError.is(error)) return
      this.#boss.report(
        new Error(`Handed-off job ${job.id} of ${job.name}: ${String(error)}`, { cause: error }),
      )
    }
  }
}
