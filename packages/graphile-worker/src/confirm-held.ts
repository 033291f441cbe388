import { setTimeout as delay } from 'node:timers/promises'
import { TaskLostError } from '@holdfast/core'
import { isEnded } from './before-work.js'
import { isFetchedStill } from './job-sql.js'
import type { Delivery } from './protected-task.js'

/** Milliseconds between looks, and how many of them: recovery takes moments once it has begun. */
const LOOK = 50
const MAX_LOOKS = 200

/**
 * Makes sure that the job is its pool's still, so that its end counts. When it isn't, graphile-worker hears so only after
 * recovery has taken the job: the error would otherwise be written as its failure.
 *
 * @throws TaskLostError
 */
export async function confirmHeld({ pool, run, tables, job }: Delivery): Promise<void> {
  const held = await pool.task
  try {
    await held.confirm()
  } catch (error) {
    for (let looks = 0; TaskLostError.is(error) && looks < MAX_LOOKS; looks++) {
      const isOurs = await isFetchedStill(run, tables, job).catch((reason) => !isEnded(reason))
      if (!isOurs) break
      await delay(LOOK)
    }
    throw error
  }
}
