import {
  LeaseExpiredError,
  Semaphore,
  type TaskHandle,
  TaskLostError,
  TaskOverdueError,
} from '@holdfast/core'
import type { JobHelpers, Task } from 'graphile-worker'
import { orGiveBack } from './before-work.js'
import { letGo } from './confirm-held.js'
import { giveBackJob, snapshotJob } from './job-sql.js'
import { failureOf, type HandOffPayload } from './payloads.js'
import { type Delivery, protectedTask, type TaskContext } from './protected-task.js'
import { removeForCertain } from './remove-for-certain.js'
import type { HandOffOptions } from './task-options.js'

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
 * process under the monitor's protection.
 */
export function handOffTask(
  handler: HandOffHandler,
  { concurrency, ...options }: HandOffOptions,
  context: TaskContext,
  plain?: Task,
): Task {
  const places = new Semaphore(concurrency)
  return protectedTask(
    context,
    async (delivery, payload) => {
      const { pool, run, tables, job } = delivery
      if (!(await places.acquire(pool.closing))) {
        pool.jobs.hold(job)
        await giveBackJob(run, tables, job)
        throw new Error(`The worker stops: job ${job.id} had not begun and was given back.`)
      }
      try {
        const { task, stored } = await orGiveBack(delivery, () => register(delivery, options))
        await takeJob(delivery, task)
        const working = work(handler, payload, delivery, task, stored)
        pool.addHandOff(working)
        void working.finally(() => places.release())
      } catch (error) {
        places.release()
        throw error
      }
    },
    plain,
  )
}

async function register(
  { pool, run, tables, job, guard }: Delivery,
  options: Omit<HandOffOptions, 'concurrency'>,
): Promise<{ task: TaskHandle; stored: HandOffPayload }> {
  const unhold = pool.jobs.hold(job)
  const snapshot = await snapshotJob(run, tables, job).finally(unhold)
  if (snapshot === undefined) throw new Error(`Job ${job.id} is no longer locked by this worker.`)
  const stored: HandOffPayload = { kind: 'handOff', lockId: job.lockId, job: snapshot }
  const task = await guard.register(pool, job.id, stored, { ...options, signal: pool.closing })
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
  { helpers, pool }: Delivery,
  task: TaskHandle,
  stored: HandOffPayload,
): Promise<void> {
  const { abortPromise: _, ...rest } = helpers
  const name = `Handed-off job ${task.jobRef} (${stored.job.identifier})`
  const reportProgress = async (): Promise<void> => {
    await pool.monitor!.updateHeartbeats([task])
  }
  try {
    const failure = await run(async () =>
      handler(payload, { ...rest, abortSignal: task.signal, task, reportProgress }),
    )
    const { aborted, reason } = task.signal
    const isFailure = failure !== undefined && (!aborted || TaskOverdueError.is(reason))
    if (isFailure) helpers.logger.error(`${name} failed: ${failure}`)
    const settled = await pool.monitor!.settle(task)
    if (settled === 'lost')
      helpers.logger.warn(`${name} is no longer this process's: its end does not count.`)
    if (settled !== 'open') return
    if (failure === undefined) await task.complete()
    else if (isFailure) await task.release({ payload: { ...stored, failure } })
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
