import {
  LeaseExpiredError,
  type Monitor,
  OwnTask,
  Semaphore,
  type TaskHandle,
  TaskLostError,
  TaskOverdueError,
} from '@holdfast/core'
import type { BossJob } from './boss.js'
import { type Beginning, begin, type Delivery, expiryOf } from './delivery.js'
import { giveBack } from './give-back.js'
import { lockJobs } from './job-sql.js'
import { letGo, lostError } from './let-go.js'
import type { HandOffOptions } from './options.js'
import { tellAfterEnd } from './outcome.js'
import { OwnRow } from './own-row.js'
import { patiently } from './patiently.js'
import type { ProtectedBoss, Running } from './protected-boss.js'
import { asBossDatabase, inTransaction } from './run.js'
import { type End, type Ended, releaseFailed, settle } from './settle.js'
import { trackedJob } from './tracked-job.js'

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

/** What became of a job: `taken`, pg-boss may say that it is completed; `failed`, and it may run again; `lost` to another. */
type Became = 'taken' | 'failed' | 'lost'

const progressOf = (monitor: Monitor, task: TaskHandle) => async (): Promise<void> => {
  await monitor.updateHeartbeats([task])
}

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
    const became: Record<Became, BossJob[]> = { taken: [], failed: [], lost: [] }
    await Promise.all(
      beginnings.map(async (promise) => {
        const beginning = await promise
        became[await this.#take(running, beginning)].push(beginning.job)
      }),
    )
    const { lost, failed } = became
    await letGo(this.#boss, running, [...lost, ...failed])
    if (running.schema.fences && lost.length > 0) throw lostError(lost)
  }

  /** Within another handler of the adapter's, whose protection is enough. */
  async within(
    jobs: readonly (Job & { readonly task: TaskHandle; readonly signal: AbortSignal })[],
  ): Promise<void> {
    const { monitor } = await this.#boss.running(jobs[0]!.name)
    await Promise.all(
      jobs.map((job) => this.#handler({ ...job, reportProgress: progressOf(monitor, job.task) })),
    )
  }

  /** Waits for a place, takes the job over from pg-boss, and begins. */
  async #take(running: Running, beginning: Beginning<Job>): Promise<Became> {
    if (beginning.kind === 'lost') return 'lost'
    if (beginning.kind === 'refused') {
      const { job, active, error } = beginning
      return this.#end(running, { job, active, end: { kind: 'failed', error } })
    }
    const { row, job } = beginning
    if (!(await this.#places.acquire(running.closing))) {
      if (row.protected) await this.#quietly(job, () => row.release())
      else {
        await giveBack(this.#boss, running, [beginning.active]).catch(this.#boss.report)
        await row.complete()
      }
      return 'lost'
    }
    if (!row.protected) return this.#workInPlace(running, beginning).finally(() => this.#places.release())
    const taken = await this.#complete(beginning).catch(async (error) => {
      if (!TaskLostError.is(error)) this.#boss.report(error)
      await this.#quietly(job, () => row.release())
      return false
    })
    if (!taken) {
      this.#places.release()
      return 'lost'
    }
    void this.#work(running, beginning).finally(() => this.#places.release())
    return 'taken'
  }

  /** An unprotected job stays active in pg-boss meanwhile: a crash would lose it if it were completed. */
  async #workInPlace(running: Running, delivery: Delivery<Job>): Promise<Became> {
    const own = new OwnRow(this.#boss, running, delivery)
    const { job } = delivery
    const reportProgress = progressOf(running.monitor, delivery.row)
    let end: End = { kind: 'completed', output: undefined }
    try {
      await this.#handler({ ...trackedJob(job, own.handle), reportProgress })
    } catch (error) {
      end = { kind: 'failed', error }
    }
    if ((await own.settle()) === 'open') return this.#end(running, { ...delivery, end })
    if (end.kind === 'failed') tellAfterEnd(this.#boss, job, 'completed', end.error)
    return 'taken'
  }

  async #end(running: Running, ended: Ended): Promise<Became> {
    const { job, end } = ended
    const { lost, endedBefore } = await settle(this.#boss, running, [ended])
    if (lost.length > 0) return 'lost'
    if (end.kind !== 'failed') return 'taken'
    if (endedBefore.length > 0) tellAfterEnd(this.#boss, job, 'completed', end.error)
    return 'failed'
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
  async #work({ monitor }: Running, delivery: Delivery<Job>): Promise<void> {
    const { row, job } = delivery
    const own = new OwnTask(row, monitor)
    const task = this.#boss.give(own.handle)
    let end = (): Promise<void> => row.complete()
    let tell = (_: 'completed' | 'released'): void => undefined
    try {
      await this.#handler({ ...job, signal: row.signal, task, reportProgress: progressOf(monitor, row) })
    } catch (error) {
      end = () => this.#fail(delivery, error)
      tell = (became) => tellAfterEnd(this.#boss, job, became, error)
    }
    await this.#quietly(job, async () => {
      const became = await own.outcome()
      if (became === 'open') await end()
      else if (became !== 'lost') tell(became)
    })
  }

  /** The job's own retry rules say what becomes of it; recovery applies them. */
  async #fail(delivery: Delivery, error: unknown): Promise<void> {
    const { row } = delivery
    const { aborted, reason } = row.signal
    if (!aborted || TaskOverdueError.is(reason)) {
      await releaseFailed(this.#boss.report, delivery, error)
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
