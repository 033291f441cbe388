import { DatabaseError, type TaskHandle, TaskLostError } from '@holdfast/core'
import { isEnded, patiently } from './before-work.js'
import { letGo } from './confirm-held.js'
import { type EndedJob, failJob } from './job-sql.js'
import { startedPayload } from './payloads.js'
import type { Delivery } from './protected-task.js'
import { releaseFailed } from './release-row.js'
import { removeForCertain } from './remove-for-certain.js'

/**
 * Sees to it that a job's handler, which ended well, has not run in vain. In a named queue the late completion of a
 * zombie would leave the queue locked for ever; and a job with a row must be gone before its row. Others are
 * graphile-worker's to write, unless it may be unable to.
 */
export async function writeSuccess(delivery: Delivery, held: Pick<TaskHandle, 'confirm'>): Promise<void> {
  const { pool, job, helpers, own } = delivery
  if (own?.row.protected || helpers.job.job_queue_id !== null || pool.doubtful)
    await writeSuccessNow(delivery, held)
  else pool.ended.note(job)
}

/** Removes a job that ended well from graphile-worker. @throws TaskLostError when it is no longer this fetch's */
export async function writeSuccessNow(delivery: Delivery, held: Pick<TaskHandle, 'confirm'>): Promise<void> {
  try {
    await removeFenced(delivery, held)
  } catch (error) {
    if (!isEnded(error)) throw error
    await settleElsewhere(delivery, delivery.job)
  }
}

/**
 * Sees to it that the failure of a job is written. That of a job with a row is written together with the end of the row:
 * between the two it would look as if it had not begun.
 */
export async function writeFailure(delivery: Delivery, failure: string): Promise<void> {
  const { pool, job, run, tables, own } = delivery
  if (own?.row.protected) {
    try {
      await releaseFailed(own.row, startedPayload(job), failure)
    } catch (error) {
      if (!TaskLostError.is(error)) throw error
      await letGo(delivery)
    }
    return
  }
  if (!pool.doubtful) return pool.ended.note({ ...job, failure })
  try {
    await patiently(() => failJob(run, tables, job, failure))
    proved(delivery)
  } catch (error) {
    if (!isEnded(error)) throw error
    await settleElsewhere(delivery, { ...job, failure })
  }
}

/** Ends the row of a job, if it has one: of a job that is out of graphile-worker, or about to have another row. */
export async function completeRow({ own }: Pick<Delivery, 'own'>): Promise<void> {
  try {
    await own?.row.complete()
  } catch (error) {
    // Whoever has the job has taken the row with it; or it ends with a later heartbeat.
    if (!TaskLostError.is(error) && !DatabaseError.is(error)) throw error
  }
}

async function removeFenced(delivery: Delivery, held: Pick<TaskHandle, 'confirm'>): Promise<void> {
  const removed = await removeForCertain(delivery, held)
  proved(delivery)
  if (removed) return
  await completeRow(delivery)
  await letGo(delivery)
  throw new TaskLostError(
    `Job ${delivery.job.id} is no longer locked by this worker: its result is discarded.`,
  )
}

/** The connections work. */
function proved({ pool }: Delivery): void {
  if (!pool.closing.aborted) pool.doubtful = false
}

/** graphile-worker's connections are closed, as when `runner.stop()` meets a signal: recovery writes the end. */
async function settleElsewhere({ guard, pool }: Delivery, job: EndedJob): Promise<void> {
  try {
    await guard.settle(pool, job)
  } catch {
    pool.ended.note(job) // The pool's last word tells it, if that has a row.
  }
}
