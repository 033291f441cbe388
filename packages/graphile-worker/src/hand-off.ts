import type { TaskHandle } from '@holdfast/core'
import type { JobHelpers, Task } from 'graphile-worker'
import type { Guard } from './guard.js'
import { giveBackJob, snapshotJob } from './job-snapshot.js'
import type { HandOffPayload } from './payloads.js'
import { Semaphore } from './semaphore.js'
import { markProtected } from './wrap-task.js'

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

/**
 * A task that graphile-worker sees as finished as soon as the job is registered, while the work goes on in this
 * process under the monitor's protection.
 */
export function handOffTask<Payload>(
  handler: HandOffHandler<Payload>,
  { concurrency }: HandOffOptions,
  { guard, queue, schema }: { guard: Guard; queue: string; schema: string },
): Task {
  const places = new Semaphore(concurrency)

  return markProtected(async (payload, helpers) => {
    const { job } = helpers
    const monitor = await guard.monitor()
    await (await guard.taskOf(job.locked_by))?.confirm()
    if (!(await places.acquire(guard.closing(job.locked_by) ?? helpers.abortSignal))) {
      await giveBackJob(helpers, schema)
      throw new Error(`The worker stops: job ${job.id} had not begun and was given back.`)
    }
    try {
      const snapshot = await snapshotJob(helpers, schema)
      if (snapshot === undefined) throw new Error(`Job ${job.id} is no longer locked by this worker.`)
      const stored: HandOffPayload = { kind: 'handOff', lockId: String(job.locked_by), job: snapshot }
      const task = await monitor.register({ queue, jobRef: job.id, payload: stored })
      void work(handler, payload as Payload, helpers, task, stored).finally(() => places.release())
    } catch (error) {
      places.release()
      throw error
    }
  })
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
  try {
    const failure = await run(() => handler(payload, { ...rest, abortSignal: task.signal, task }))
    if (failure === undefined) {
      if (task.open) await task.complete()
    } else if (!task.signal.aborted) {
      helpers.logger.error(`Handed-off job ${task.jobRef} (${stored.job.identifier}) failed: ${failure}`)
      await task.release({ payload: { ...stored, failure } })
    } else if (task.open && isLeaseExpired(task.signal.reason)) {
      // Cut short, not failed: the job keeps its attempt.
      await task.release()
    }
  } catch (error) {
    helpers.logger.warn(`Handed-off job ${task.jobRef} (${stored.job.identifier}): ${String(error)}`)
  }
}

/** The message of what `handler` threw, or undefined. */
async function run(handler: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await handler()
    return undefined
  } catch (error) {
    // Like graphile-worker: never an empty message.
    return (
      (error instanceof Error && error.message) ||
      String(error) ||
      'Non error or error without message thrown.'
    )
  }
}

const isLeaseExpired = (reason: unknown): boolean =>
  typeof reason === 'object' &&
  reason !== null &&
  'code' in reason &&
  reason.code === 'HOLDFAST_LEASE_EXPIRED'
