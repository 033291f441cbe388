import { setTimeout as delay } from 'node:timers/promises'
import { TaskLostError } from '@holdfast/core'
import { isEnded } from './before-work.js'
import { giveBackJob, holdOff, type Lock, type LockedJob, lockOf } from './job-sql.js'
import type { Delivery } from './protected-task.js'

/** Milliseconds between looks, and how many of them: recovery takes moments once it has begun. */
const LOOK = 50
const MAX_LOOKS = 200

/**
 * Makes sure that the job is its pool's still, so that its end counts; waits through an outage of the database.
 *
 * @throws TaskLostError
 */
export async function confirmHeld(delivery: Delivery): Promise<void> {
  const held = await delivery.pool.task
  try {
    await held.confirm()
  } catch (error) {
    if (TaskLostError.is(error)) await letGo(delivery)
    throw error
  }
}

/**
 * Resolves when graphile-worker may hear of the end of a job that is no longer this run's. Not before recovery has taken
 * the job: what it hears it would write as the job's failure. And since 0.17 not while its own pool has the job again: the
 * lock is the same then, so it would write that run's. One that runs is waited for. One that was only fetched ahead is
 * given back, as it may be waiting for this very place. A job that nobody comes for, as its row was deleted by a person or
 * its lock was changed, has failed in the end.
 */
export async function letGo(delivery: Delivery): Promise<void> {
  const { pool, run, tables } = delivery
  for (let looks = 0; looks < MAX_LOOKS; ) {
    try {
      const lock = await lockHeld(delivery)
      if (lock === 'none') return
      if (lock === 'this' || isChanged(delivery, lock)) looks += 1
      else if (pool.disown(lock)) {
        await giveBackJob(run, tables, lock, pool.pauseMs)
        return pool.wakeAfterPause()
      }
    } catch (error) {
      // While the database is away nobody could take the job, nor write a failure of it.
      if (isEnded(error)) return
    }
    await delay(LOOK)
  }
}

/** Whether it is this fetch's lock, of which a person has changed the time: another fetch is counted, or runs here. */
const isChanged = ({ pool, job }: Delivery, lock: LockedJob): boolean =>
  lock.attempts <= job.attempts && !pool.jobs.has(lock.id, lock.lockedAt)

/** A job that is free must not be fetched just before graphile-worker's word of it. */
async function lockHeld({ pool, run, tables, job }: Delivery): Promise<Lock> {
  if (await holdOff(run, tables, job.id, pool.pauseMs)) pool.wakeAfterPause()
  return lockOf(run, tables, job)
}
