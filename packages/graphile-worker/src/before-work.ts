import { setTimeout as delay } from 'node:timers/promises'
import {
  DatabaseError,
  JobTakenError,
  LeaseExpiredError,
  PayloadError,
  PayloadTooLargeError,
  StoppedError,
  TaskLostError,
} from '@holdfast/core'
import { letGo } from './confirm-held.js'
import { giveBackJob } from './job-sql.js'
import type { Delivery } from './protected-task.js'

/** Milliseconds between tries while the database is away. */
export const RETRY = 500

/** Tries before a database that is away is given up. */
export const MAX_TRIES = 60

/**
 * Runs what comes before a handler begins. While the database is away it is tried again; where it fails otherwise the
 * job is given back with its attempt. Only what is the job's own fault is graphile-worker's to fail.
 */
export async function orGiveBack<T>(delivery: Delivery, before: () => Promise<T>): Promise<T> {
  const { pool, run, tables, job, helpers } = delivery
  const held = await pool.task
  for (let tries = 1; ; tries++) {
    try {
      await held.confirm()
      return await before()
    } catch (error) {
      if (PayloadError.is(error) || PayloadTooLargeError.is(error)) throw error
      const isPassing = LeaseExpiredError.is(error) || DatabaseError.is(error)
      if (isPassing && !pool.closing.aborted) {
        if (tries === 1) helpers.logger.warn(`Job ${job.id} waits to begin: ${String(error)}`)
        await delay(RETRY)
        continue
      }
      // Declared dead or stopped, the pool closes. After that none of its workers fetches the job again before the
      // failure that follows is written.
      if (TaskLostError.is(error) || StoppedError.is(error)) await pool.closed
      // Another has the job, or this very pool once more: what graphile-worker hears would be written of that run.
      if (JobTakenError.is(error)) {
        await letGo(delivery)
        throw error
      }
      pool.jobs.hold(job)
      await patiently(() => giveBackJob(run, tables, job, pool.pauseMs))
      throw error
    }
  }
}

/** Repeats `work` for a while, since a database that is away comes back. */
export async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work()
    } catch (error) {
      if (tries >= MAX_TRIES || isEnded(error)) throw error
      await delay(RETRY)
    }
  }
}

/** pg's pool was ended: no more of its connections will come. */
export const isEnded = (error: unknown): boolean =>
  error instanceof Error && /after calling end on the pool/.test(error.message)
