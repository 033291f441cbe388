import { DatabaseError, linkedSignal, TaskLostError } from '@holdfast/core'
import type { JobHelpers } from 'graphile-worker'
import { isEnded, patiently } from './before-work.js'
import { confirmHeld, letGo } from './confirm-held.js'
import { giveBackJob, lockOf } from './job-sql.js'
import { failureOf, startedPayload, tellable } from './payloads.js'
import type { Delivery, Result } from './protected-task.js'
import { releaseRow } from './release-row.js'
import { completeRow, writeFailure, writeSuccess } from './write-end.js'

type Work = (helpers: JobHelpers) => Promise<Result>

/** Runs the work of a job that is in graphile-worker meanwhile, and ends the job as that came to. */
export async function workInPlace(delivery: Delivery, payload: unknown, work: Work): Promise<Result> {
  try {
    return await workToItsEnd(delivery, payload, work)
  } finally {
    const { own } = delivery
    // However it ended: nothing runs under it any more.
    if (own?.row.protected === false) await completeRow(delivery)
  }
}

async function workToItsEnd(delivery: Delivery, payload: unknown, work: Work): Promise<Result> {
  const { pool, job, helpers } = delivery
  const held = await pool.task
  const cutShort = pool.jobSignal
  // A task that listens also hears that its process is no longer believed alive, or shall end.
  const abort = linkedSignal(helpers.abortSignal, cutShort, delivery.own?.row.signal)
  let result: Result
  let failed: boolean
  try {
    result = await work({ ...helpers, abortSignal: abort.signal })
    failed = await failsInPart(payload, result)
  } catch (error) {
    await endFailed(delivery, error, cutShort)
    throw tellable(error)
  } finally {
    abort.unlink()
  }
  const outcome = await outcomeOf(delivery)
  if (outcome === 'completed' || outcome === 'handed off') return result
  if (outcome === 'given back') {
    await giveBack(delivery)
    throw new Error(`Job ${job.id} was given back by its own handler.`)
  }
  if (outcome === 'lost')
    throw new TaskLostError(`Job ${job.id} is no longer this run's. Discard the result.`)
  // Which entries of a batch are tried again is graphile-worker's to write.
  if (!failed) await writeSuccess(delivery, held)
  await completeRow(delivery)
  return result
}

/**
 * Sees to the end of a job whose handler threw. Never throws: that error is what graphile-worker is to hear, and to write
 * where we could not.
 */
async function endFailed(delivery: Delivery, error: unknown, cutShort: AbortSignal): Promise<void> {
  const { job, helpers } = delivery
  try {
    const outcome = await outcomeOf(delivery)
    if (outcome === 'given back') await giveBack(delivery)
    else if (outcome === 'open' && cutShort.aborted) await giveUp(delivery, failureOf(error))
    else if (outcome === 'open') await writeFailure(delivery, failureOf(error))
    else if (outcome === 'completed')
      helpers.logger.error(`Job ${job.id} was completed before its handler threw: it does not run again.`)
  } catch (cause) {
    helpers.logger.error(`Job ${job.id} has failed, and that could not be written: ${String(cause)}`)
  }
}

type Outcome = 'open' | 'completed' | 'given back' | 'handed off' | 'lost'

/**
 * What became of a job by the time its handler has settled. `open`: how that ended is to be written. `given back`: that it
 * was. Else the job is out of this run's hands, so that graphile-worker may hear of an error without harm.
 *
 * @throws TaskLostError when this process was declared dead
 */
async function outcomeOf(delivery: Delivery): Promise<Outcome> {
  const { pool, job, own } = delivery
  if (delivery.handedOff) return 'handed off'
  await confirmHeld(delivery)
  const settled = own === undefined ? 'open' : await pool.monitor!.settle(own.row)
  pool.jobs.hold(job)
  if (settled === 'open') {
    if (own?.givenBack) return 'given back'
    return (await wasCompletedUnprotected(delivery)) ? 'completed' : 'open'
  }
  if (settled === 'completed') return 'completed'
  await letGo(delivery)
  return 'lost'
}

/** Of a transaction that an unprotected job was completed in, only the job tells. */
async function wasCompletedUnprotected({ own, run, tables, job, sameDatabase }: Delivery): Promise<boolean> {
  if (own === undefined || own.row.protected || !own.completed || !sameDatabase) return false
  return (await patiently(() => lockOf(run, tables, job))) === 'none'
}

/** Has recovery give a job back, together with its row: one that may be tried only once must not begin twice. */
async function giveBack(delivery: Delivery): Promise<void> {
  const { job, pool, own, onExhausted } = delivery
  const { pauseMs } = pool
  try {
    await releaseRow(own!.row, [{ ...startedPayload(job), onExhausted, pauseMs }])
  } catch (error) {
    // One without an answer is repeated with each heartbeat until it is certain.
    if (!TaskLostError.is(error) && !DatabaseError.is(error)) throw error
  }
  await letGo(delivery)
}

/**
 * Gives a job back that was told to end, and did, although its process lives still: no failure, and no attempt. One that
 * may be tried only once has failed: it must not begin twice.
 */
async function giveUp(delivery: Delivery, failure: string): Promise<void> {
  const { run, tables, job, helpers, pool } = delivery
  if (helpers.job.max_attempts === 1) return writeFailure(delivery, failure)
  try {
    await patiently(() => giveBackJob(run, tables, job, pool.pauseMs))
    await completeRow(delivery)
  } catch (error) {
    // The pool has stopped meanwhile: recovery gives it back.
    if (!isEnded(error)) throw error
    await letGo(delivery)
  }
}

/** Whether some entries of a batch job failed. */
async function failsInPart(payload: unknown, result: Result): Promise<boolean> {
  if (!Array.isArray(payload) || !Array.isArray(result)) return false
  const entries = await Promise.allSettled(result)
  return entries.some(({ status }) => status === 'rejected')
}
