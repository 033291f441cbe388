import { LeaseExpiredError, Semaphore, type TaskHandle } from '@holdfast/core'
import type { JobHelpers, Task } from 'graphile-worker'
import type { Guard } from './guard.js'
import type { GuardedPool } from './guarded-pool.js'
import { giveBackJob, removeJob, snapshotJob } from './job-sql.js'
import { failureOf, type HandOffPayload } from './payloads.js'
import { markHandOff, orGiveBack } from './wrap-task.js'

export interface HandOffOptions {
  /** How many jobs of this task this process works on at once; further ones wait, and keep their worker waiting. */
  readonly concurrency: number
}

/** graphile-worker's helpers, with the abort signal of the handed-off task and its handle. */
export interface HandOffHelpers extends Omit<JobHelpers, 'abortSignal' | 'abortPromise'> {
  /** Aborts when the process is no longer believed alive, or when the drain of `monitor.stop()` is over. */
  readonly abortSignal: AbortSignal
  /** Complete it with `{ trx }` to commit your effects and the end of the job together. */
  readonly task: TaskHandle
}

export type HandOffHandler<Payload = unknown> = (
  payload: Payload,
  helpers: HandOffHelpers,
) => Promise<unknown>

export interface HandOffContext {
  readonly guard: Guard
  readonly schema: string
}

/**
 * A task that graphile-worker sees as finished as soon as the job is registered, while the work goes on in this
 * process under the monitor's protection.
 */
export function handOffTask<Payload>(
  handler: HandOffHandler<Payload>,
  { concurrency }: HandOffOptions,
  context: HandOffContext,
): Task {
  const places = new Semaphore(concurrency)

  return markHandOff(async (payload, helpers) => {
    const { guard, schema } = context
    const pool = guard.of(helpers.job.locked_by)
    if (pool === undefined) {
      throw new Error(
        'A handed-off task needs the plugin of its own adapter: add `preset: { plugins: [adapter.plugin] }`.',
      )
    }
    if (!(await places.acquire(pool.closing))) {
      await giveBackJob(helpers, schema)
      throw new Error(`The worker stops: job ${helpers.job.id} had not begun and was given back.`)
    }
    try {
      const { task, stored } = await orGiveBack(pool, helpers, schema, () => register(pool, helpers, context))
      await takeJob(helpers, schema, task)
      const working = work(handler, payload as Payload, helpers, task, stored)
      pool.addHandOff(working)
      void working.finally(() => places.release())
    } catch (error) {
      places.release()
      throw error
    }
  })
}

async function register(
  pool: GuardedPool,
  helpers: JobHelpers,
  { guard, schema }: HandOffContext,
): Promise<{ task: TaskHandle; stored: HandOffPayload }> {
  const { job } = helpers
  const snapshot = await snapshotJob(helpers, schema)
  if (snapshot === undefined) throw new Error(`Job ${job.id} is no longer locked by this worker.`)
  const stored: HandOffPayload = { kind: 'handOff', lockId: String(job.locked_by), job: snapshot }
  return { task: await guard.register(pool, job.id, stored), stored }
}

/**
 * Takes the job out of graphile-worker, so that from here on it is the monitor's alone: its own completion comes late
 * and by id. When it can't be told whether that was done, our row stands for the job all the same.
 */
async function takeJob(helpers: JobHelpers, schema: string, task: TaskHandle): Promise<void> {
  let taken: boolean
  try {
    taken = await removeJob(helpers, schema)
  } catch (error) {
    helpers.logger.warn(`Handed-off job ${helpers.job.id} may be in graphile-worker still: ${String(error)}`)
    return
  }
  if (taken) return
  await task.complete()
  throw new Error(`Job ${helpers.job.id} is no longer locked by this worker.`)
}

/** Runs the handler to its end and says how it ended. Never throws: nobody is left to catch. */
async function work<Payload>(
  handler: HandOffHandler<Payload>,
  payload: Payload,
  helpers: JobHelpers,
  task: TaskHandle,
  stored: HandOffPayload,
): Promise<void> {
  const { abortPromise: _, ...rest } = helpers
  const name = `Handed-off job ${task.jobRef} (${stored.job.identifier})`
  try {
    const failure = await run(() => handler(payload, { ...rest, abortSignal: task.signal, task }))
    if (failure === undefined) {
      if (task.open) await task.complete()
    } else if (!task.signal.aborted) {
      helpers.logger.error(`${name} failed: ${failure}`)
      await task.release({ payload: { ...stored, failure } })
    } else if (task.open && LeaseExpiredError.is(task.signal.reason)) {
      // Cut short, not failed: the job keeps its attempt.
      await task.release()
    }
  } catch (error) {
    helpers.logger.warn(`${name}: ${String(error)}`)
  }
}

async function run(handler: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await handler()
    return undefined
  } catch (error) {
    return failureOf(error)
  }
}
