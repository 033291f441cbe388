import {
  type AnyTransaction,
  type CompleteOptions,
  ConfigError,
  linkedSignal,
  StoppedError,
  type TaskHandle,
  TaskLostError,
} from '@holdfast/core'
import type { JobHelpers, Task } from 'graphile-worker'
import { isEnded, orGiveBack, patiently } from './before-work.js'
import { confirmHeld, letGo } from './confirm-held.js'
import { giveBackJob, removeJob } from './job-sql.js'
import { failureOf, type StartedPayload } from './payloads.js'
import { type Delivery, protectedTask, type TaskContext } from './protected-task.js'
import { inDatabase } from './run.js'
import type { TrackOptions } from './task-options.js'
import { writeFailure, writeSuccess } from './write-end.js'

/** graphile-worker's helpers, with the handle of the tracked job. */
export interface TrackHelpers extends JobHelpers {
  /** Complete it with `{ trx }` to commit your effects and the end of the job together. */
  readonly task: TaskHandle
}

export type TrackHandler<Payload = unknown> = (payload: Payload, helpers: TrackHelpers) => ReturnType<Task>

/**
 * A task whose jobs stay in graphile-worker while their handlers run. graphile-worker's completion is not fenced, its
 * failure is: so a handler whose process was declared dead meanwhile must throw, whatever it returned. The job then
 * stays with whoever has it now.
 */
export function inPlaceTask(
  handler: TrackHandler,
  options: TrackOptions & { readonly tracked: boolean },
  context: TaskContext,
  plain?: Task,
): Task {
  return protectedTask(context, (delivery, payload) => runInPlace(handler, options, delivery, payload), plain)
}

async function runInPlace(
  handler: TrackHandler,
  { tracked, ...options }: TrackOptions & { readonly tracked: boolean },
  delivery: Delivery,
  payload: unknown,
): Promise<Awaited<ReturnType<Task>>> {
  const { pool, job, helpers } = delivery
  const held = await pool.task
  const cutShort = pool.jobSignal
  const row = await orGiveBack(delivery, async () =>
    needsRow(delivery, tracked) ? begin(delivery, options) : undefined,
  )
  const own = row === undefined ? undefined : new OwnRow(row, delivery)
  // A task that listens also hears that its process is no longer believed alive, or shall end.
  const abort = linkedSignal(helpers.abortSignal, cutShort, row?.signal)
  const extended = { ...helpers, ...(tracked && own && { task: own.handle }), abortSignal: abort.signal }
  let result: Awaited<ReturnType<Task>>
  let failed: boolean
  try {
    result = await handler(payload, extended as TrackHelpers)
    failed = await failsInPart(payload, result)
  } catch (error) {
    await confirmHeld(delivery)
    if (row !== undefined && !row.open) await letGo(delivery, true)
    else if (cutShort.aborted) await giveUp(delivery, row, failureOf(error))
    else await writeFailure(delivery, row, startOf(delivery), failureOf(error))
    throw error
  } finally {
    abort.unlink()
  }
  await confirmHeld(delivery)
  if (own?.completed) return result
  if (row !== undefined && !row.open) {
    await letGo(delivery, true)
    throw new Error(`Job ${job.id} was given back by its own handler.`)
  }
  // Which entries of a batch are tried again is graphile-worker's to write.
  if (!failed) await writeSuccess(delivery, row, held)
  await row?.complete()
  return result
}

/**
 * Without a row of its own a job stands behind its pool's. A job that is tried again has one: it may have been in flight
 * in dying processes, so that it must be kept apart, and counted by itself.
 */
const needsRow = ({ pool, job }: Delivery, tracked: boolean): boolean =>
  tracked || pool.marksStarts || job.attempts > 1

const startOf = ({ job }: Delivery): StartedPayload => ({
  kind: 'started',
  jobId: job.id,
  lockId: job.lockId,
})

const begin = (delivery: Delivery, options: TrackOptions): Promise<TaskHandle> => {
  const { guard, pool, job } = delivery
  return guard.register(pool, job.id, startOf(delivery), { ...options, signal: pool.closing })
}

/**
 * Gives a job back that was told to end, and did, although its process lives still: no failure, and no attempt. One that
 * may be tried only once has failed: it must not begin twice.
 */
async function giveUp(delivery: Delivery, row: TaskHandle | undefined, failure: string): Promise<void> {
  const { run, tables, job, helpers } = delivery
  if (helpers.job.max_attempts === 1) return writeFailure(delivery, row, startOf(delivery), failure)
  try {
    await patiently(() => giveBackJob(run, tables, job))
    await row?.complete()
  } catch (error) {
    // The monitor or the pool has stopped meanwhile: recovery gives it back.
    if (!TaskLostError.is(error) && !StoppedError.is(error) && !isEnded(error)) throw error
    await letGo(delivery)
  }
}

/** Whether some entries of a batch job failed. */
async function failsInPart(payload: unknown, result: Awaited<ReturnType<Task>>): Promise<boolean> {
  if (!Array.isArray(payload) || !Array.isArray(result)) return false
  const entries = await Promise.allSettled(result)
  return entries.some(({ status }) => status === 'rejected')
}

/** The row of a job whose handler may end both, row and job. */
class OwnRow {
  completed = false
  /** Like the row's, except that completing it ends the job in graphile-worker first. */
  readonly handle: TaskHandle

  constructor(row: TaskHandle, delivery: Delivery) {
    const complete = async ({ trx }: CompleteOptions = {}): Promise<void> => {
      if (trx === undefined) await writeSuccess(delivery, row, row)
      else await endIn(trx, delivery)
      await row.complete(trx === undefined ? {} : { trx })
      this.completed = true
    }
    this.handle = new Proxy(row, {
      get(target, member) {
        if (member === 'complete') return complete
        const value = Reflect.get(target, member, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  }
}

/** Ends a job in the transaction of its handler. */
async function endIn(trx: AnyTransaction, { sameDatabase, tables, job }: Delivery): Promise<void> {
  if (!sameDatabase) {
    throw new ConfigError(
      "complete({ trx }) of a tracked job needs the monitor in graphile-worker's database: hand the job off instead.",
    )
  }
  if (await removeJob(inDatabase(trx), tables, job)) return
  throw new TaskLostError(`Job ${job.id} is no longer locked by this worker. Discard the result.`)
}
