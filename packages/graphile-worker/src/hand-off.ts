import {
  LeaseExpiredError,
  OwnTask,
  Semaphore,
  type TaskHandle,
  TaskLostError,
  TaskOverdueError,
} from '@holdfast/core'
import type { JobHelpers, Task } from 'graphile-worker'
import { orGiveBack } from './before-work.js'
import { letGo } from './confirm-held.js'
import { giveBackJob, snapshotJob } from './job-sql.js'
import { OwnRow } from './own-row.js'
import { failureOf, type HandOffPayload } from './payloads.js'
import { type Delivery, protectedTask, type Result, type TaskContext } from './protected-task.js'
import { releaseFailed } from './release-row.js'
import { removeForCertain } from './remove-for-certain.js'
import type { HandOffOptions } from './task-options.js'
import { workInPlace } from './work-in-place.js'

/** graphile-worker's helpers, with the abort signal of the handed-off task and its handle. */
export interface HandOffHelpers extends Omit<JobHelpers, 'abortSignal' | 'abortPromise'> {
  /** Aborts when the process is no longer believed alive, or when the drain of `monitor.stop()` is over. */
  readonly abortSignal: AbortSignal
  /** Complete it with `{ trx }` to commit your effects and the end of the job together. */
  readonly task: TaskHandle
  /** Notes in the monitor's database that the work goes on (`progress_at`). @throws DatabaseError */
  reportProgress(): Promise<void>
}

export type HandOffHandler<Payload = unknown> = (payload: Payload, helpers: HandOffHelpers) => unknown

/**
 * A task that graphile-worker sees as finished as soon as the job is registered, while the work goes on in this
 * process under the monitor's protection. A job that can't be protected stays in graphile-worker meanwhile.
 */
export function handOffTask(
  handler: HandOffHandler,
  { concurrency, ...options }: HandOffOptions,
  context: TaskContext,
  plain?: Task,
): Task {
  const places = new Semaphore(concurrency)

  /** @param inPlace does the work of a job that stays in graphile-worker */
  async function handOff(
    delivery: Delivery,
    payload: unknown,
    helpers: JobHelpers,
    inPlace: (work: (helpers: JobHelpers) => Promise<Result>) => Promise<Result>,
  ): Promise<Result> {
    const { pool, run, tables, job } = delivery
    if (!(await places.acquire(pool.closing))) {
      pool.jobs.hold(job)
      await giveBackJob(run, tables, job, pool.pauseMs)
      throw new Error(`The worker stops: job ${job.id} had not begun and was given back.`)
    }
    let working: Promise<void> | undefined
    try {
      const { task, stored } = await orGiveBack(delivery, () => register(delivery, options))
      if (!task.protected) {
        delivery.own = new OwnRow(task, delivery)
        return await inPlace(async (helpers) => {
          await handler(payload, extended(helpers, delivery, delivery.own!.handle, helpers.abortSignal))
        })
      }
      await takeJob(delivery, task)
      delivery.handedOff = true
      working = work(handler, payload, delivery, helpers, task, stored)
      pool.addHandOff(delivery, working)
    } finally {
      if (working === undefined) places.release()
      else void working.finally(() => places.release())
    }
  }

  return protectedTask(
    context,
    {
      handler,
      alone: (delivery, payload) =>
        handOff(delivery, payload, delivery.helpers, (work) => workInPlace(delivery, payload, work)),
      within: (delivery, payload, helpers) => handOff(delivery, payload, helpers, (work) => work(helpers)),
    },
    plain,
  )
}

function extended(
  { abortPromise: _, ...helpers }: JobHelpers,
  { pool }: Delivery,
  task: TaskHandle,
  abortSignal = task.signal,
): HandOffHelpers {
  const reportProgress = async (): Promise<void> => {
    await pool.monitor!.updateHeartbeats([task])
  }
  return { ...helpers, abortSignal, task, reportProgress }
}

async function register(
  { pool, run, tables, job, guard, onExhausted }: Delivery,
  options: Omit<HandOffOptions, 'concurrency'>,
): Promise<{ task: TaskHandle; stored: HandOffPayload }> {
  const unhold = pool.jobs.hold(job)
  const snapshot = await snapshotJob(run, tables, job).finally(unhold)
  if (snapshot === undefined) throw new Error(`Job ${job.id} is no longer locked by this worker.`)
  const stored: HandOffPayload = { kind: 'handOff', lockId: job.lockId, job: snapshot, onExhausted }
  const task = await guard.register(pool, job, stored, { ...options, signal: pool.closing })
  return { task, stored }
}

/**
 * Takes the job out of graphile-worker, so that from here on it is the monitor's alone: its own completion comes late
 * and by id. Not before that is certain may the handler begin: a job that is still there runs again when this process dies,
 * also after its end.
 */
async function takeJob(delivery: Delivery, task: TaskHandle): Promise<void> {
  delivery.pool.jobs.hold(delivery.job)
  let taken: boolean
  try {
    taken = await removeForCertain(delivery, task)
  } catch (error) {
    if (TaskLostError.is(error)) await letGo(delivery)
    else await task.release()
    throw error
  }
  if (taken) return
  await task.complete()
  throw new Error(`Job ${delivery.job.id} is no longer locked by this worker.`)
}

/** Runs the handler to its end and says how it ended. Never throws: nobody is left to catch. */
async function work(
  handler: HandOffHandler,
  payload: unknown,
  delivery: Delivery,
  helpers: JobHelpers,
  task: TaskHandle,
  stored: HandOffPayload,
): Promise<void> {
  const { pool } = delivery
  const name = `Handed-off job ${task.jobRef} (${stored.job.identifier})`
  try {
    const own = new OwnTask(task, pool.monitor!)
    const failure = await run(async () => handler(payload, extended(helpers, delivery, own.handle)))
    const { aborted, reason } = task.signal
    const isFailure = failure !== undefined && (!aborted || TaskOverdueError.is(reason))
    if (isFailure) helpers.logger.error(`${name} failed: ${failure}`)
    const settled = await own.outcome()
    if (settled === 'lost')
      helpers.logger.warn(`${name} is no longer this process's: its end does not count.`)
    if (settled !== 'open') return
    if (failure === undefined) await task.complete()
    else if (isFailure) await releaseFailed(task, stored, failure)
    // Cut short, not failed: the job keeps its attempt.
    else if (LeaseExpiredError.is(reason)) await task.release()
  } catch (error) {
    helpers.logger.warn(`${name}: ${String(error)}`)
  }
}

async function run(handler: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await handler()
    return undefined
  } catch (error) {
    return failureOf(error)
  }
}
