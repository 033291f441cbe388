import { setTimeout as delay } from 'node:timers/promises'
import { TaskLostError } from '@holdfast/core'
import { isEnded } from './before-work.js'
import { isFetchedStill } from './job-sql.js'
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
    if (TaskLostError.is(error)) await taken(delivery)
    throw error
  }
}

/**
 * Resolves when recovery has taken a job that is no longer its pool's. Before that graphile-worker must not hear of it:
 * it would write the error as the job's failure.
 */
export async function taken({ run, tables, job }: Delivery): Promise<void> {
  for (let looks = 0; looks < MAX_LOOKS; looks++) {
    const isOurs = await isFetchedStill(run, tables, job).catch((reason) => !isEnded(reason))
    if (!isOurs) return
    await delay(LOOK)
  }
}
