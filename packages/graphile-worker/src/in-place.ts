import {
  type AnyTransaction,
  type CompleteOptions,
  ConfigError,
  DatabaseError,
  linkedSignal,
  type ReleaseOptions,
  StoppedError,
  type TaskHandle,
  TaskLostError,
} from '@holdfast/core'
import type { JobHelpers, Task } from 'graphile-worker'
import { isEnded, orGiveBack, patiently } from './before-work.js'
import { confirmHeld, letGo } from './confirm-held.js'
import { giveBackJob, removeJob } from './job-sql.js'
import { failureOf, startedPayload } from './payloads.js'
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
    if ((await outcomeOf(delivery, own)) === 'open') {
      if (cutShort.aborted) await giveUp(delivery, row, failureOf(error))
      else await writeFailure(delivery, row, failureOf(error))
    }
    throw error
  } finally {
    abort.unlink()
  }
  const outcome = await outcomeOf(delivery, own)
  if (outcome === 'completed') return result
  if (outcome === 'lost')
    throw new TaskLostError(`Job ${job.id} is no longer this run's. Discard the result.`)
  if (outcome === 'released') throw new Error(`Job ${job.id} was given back by its own handler.`)
  // Which entries of a batch are tried again is graphile-worker's to write.
  if (!failed) await writeSuccess(delivery, row, held)
  await row?.complete()
  return result
}

/**
 * What became of a job by the time its handler has settled. `open`: how that ended is to be written. Else the job is out
 * of this run's hands, so that graphile-worker may hear of an error without harm.
 *
 * @throws TaskLostError when this process was declared dead
 */
async function outcomeOf(
  delivery: Delivery,
  own: OwnRow | undefined,
): Promise<'open' | 'completed' | 'released' | 'lost'> {
  await confirmHeld(delivery)
  const settled = own === undefined ? 'open' : await delivery.pool.monitor!.settle(own.row)
  delivery.pool.jobs.hold(delivery.job)
  if (settled === 'open') return 'open'
  if (settled === 'ended' && own!.endedBy === 'complete') return 'completed'
  await letGo(delivery)
  return settled === 'ended' ? 'released' : 'lost'
}

/**
 * Without a row of its own a job stands behind its pool's. A job that is tried again has one: it may have been in flight
 * in dying processes, so that it must be kept apart, and counted by itself.
 */
const needsRow = ({ pool, job }: Delivery, tracked: boolean): boolean =>
  tracked || pool.marksStarts || job.attempts > 1

const begin = (delivery: Delivery, options: TrackOptions): Promise<TaskHandle> => {
  const { guard, pool, job } = delivery
  return guard.register(pool, job.id, startedPayload(job), { ...options, signal: pool.closing })
}

/**
 * Gives a job back that was told to end, and did, although its process lives still: no failure, and no attempt. One that
 * may be tried only once has failed: it must not begin twice.
 */
async function giveUp(delivery: Delivery, row: TaskHandle | undefined, failure: string): Promise<void> {
  const { run, tables, job, helpers } = delivery
  if (helpers.job.max_attempts === 1) return writeFailure(delivery, row, failure)
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
  readonly row: TaskHandle
  /** What its handler called last that was not refused; of `complete({ trx })` nobody knows here whether it has held. */
  endedBy: 'complete' | 'release' | undefined
  /** Like the row's, except that completing it ends the job in graphile-worker first. */
  readonly handle: TaskHandle

  constructor(row: TaskHandle, delivery: Delivery) {
    this.row = row
    const complete = ({ trx }: CompleteOptions = {}): Promise<void> =>
      this.#end('complete', async () => {
        const unhold = delivery.pool.jobs.hold(delivery.job)
        try {
          if (trx === undefined) await writeSuccess(delivery, row, row)
          else await endIn(trx, delivery)
        } finally {
          unhold()
        }
        await row.complete(trx === undefined ? {} : { trx })
      })
    const release = (options?: ReleaseOptions): Promise<void> =>
      this.#end('release', () => row.release(options))
    this.handle = new Proxy(row, {
      get(target, member) {
        if (member === 'complete') return complete
        if (member === 'release') return release
        const value = Reflect.get(target, member, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  }

  async #end(by: 'complete' | 'release', end: () => Promise<void>): Promise<void> {
    try {
      await end()
    } catch (error) {
      // One whose answer was lost is repeated until it is certain.
      if (DatabaseError.is(error)) this.endedBy = by
      throw error
    }
    this.endedBy = by
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
