import { setTimeout as delay } from 'node:timers/promises'
import type { TaskHandle } from '@holdfast/core'
import { isEnded, MAX_TRIES, RETRY } from './before-work.js'
import { removeJob } from './job-sql.js'
import type { Delivery } from './protected-task.js'

/**
 * Removes a job from graphile-worker, through a database outage if need be. False: it is no longer this fetch's. After a
 * try of unknown outcome a missing row means that it had been done: `held` is still ours, so nobody else could have taken
 * the job.
 */
export async function removeForCertain(
  { run, tables, job }: Delivery,
  held: Pick<TaskHandle, 'confirm'>,
): Promise<boolean> {
  for (let tries = 1; ; tries++) {
    try {
      return (await removeJob(run, tables, job)) || tries > 1
    } catch (error) {
      if (tries >= MAX_TRIES || isEnded(error)) throw error
      await delay(RETRY)
      await held.confirm()
    }
  }
}
