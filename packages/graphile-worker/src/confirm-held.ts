import { setTimeout as delay } from 'node:timers/promises'
import { TaskLostError } from '@holdfast/core'
import { isEnded } from './before-work.js'
import { type Fetch, lockOf } from './job-sql.js'
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
 * the job: what it hears it would write as the job's failure. And since 0.17 not while its own pool runs the job again:
 * the lock is the same then, so it would write that run's. A job that nobody comes for, as its row was deleted by a
 * person, has failed in the end.
 */
export async function letGo(delivery: Delivery): Promise<void> {
  for (let looks = 0; looks < MAX_LOOKS; ) {
    const lock = await lockHeld(delivery)
    if (lock === 'none') return
    if (lock !== undefined && !(lock === 'another' && runsAgain(delivery))) looks += 1
    await delay(LOOK)
  }
}

/** The pool runs the job again, or may have it among those that it fetched ahead. */
const runsAgain = ({ pool, job }: Delivery): boolean => pool.marksStarts || pool.jobs.runsAnother(job)

/** Undefined while the database is away: then nobody could take the job, nor write a failure of it. */
async function lockHeld({ run, tables, job }: Delivery): Promise<Fetch | 'none' | undefined> {
  try {
    return await lockOf(run, tables, job)
  } catch (error) {
    return isEnded(error) ? 'none' : undefined
  }
}
