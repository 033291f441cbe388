import { linkedSignal, type TaskHandle } from '@holdfast/core'
import type { JobHelpers, Task } from 'graphile-worker'
import { orGiveBack } from './before-work.js'
import { OwnRow } from './own-row.js'
import { startedPayload } from './payloads.js'
import { type Delivery, protectedTask, type Result, type TaskContext } from './protected-task.js'
import type { TrackOptions } from './task-options.js'
import { workInPlace } from './work-in-place.js'

/** graphile-worker's helpers, with the handle of the tracked job. */
export interface TrackHelpers extends JobHelpers {
  /**
   * Complete it with `{ trx }` to commit your effects and the end of the job together. `release()` gives the job back when
   * the handler has settled, so that it never runs twice at once; what that comes to then changes nothing.
   */
  readonly task: TaskHandle
}

export type TrackHandler<Payload = unknown> = (payload: Payload, helpers: TrackHelpers) => ReturnType<Task>

/**
 * A task whose jobs stay in graphile-worker while their handlers run. graphile-worker's completion is not fenced, its
 * failure is: so a handler whose process was declared dead meanwhile must throw, whatever it returned. The job then
 * stays with whoever has it now.
 */
export function inPlaceTask(
  handler: TrackHandler,
  { tracked, ...options }: TrackOptions & { readonly tracked: boolean },
  context: TaskContext,
  plain?: Task,
): Task {
  const work = async (delivery: Delivery, payload: unknown, helpers: JobHelpers): Promise<Result> =>
    handler(payload, (tracked ? { ...helpers, task: delivery.own!.handle } : helpers) as TrackHelpers)

  async function within(delivery: Delivery, payload: unknown, helpers: JobHelpers): Promise<Result> {
    const { signal } = (await orGiveBack(delivery, () => begin(delivery, options))).row
    const abort = linkedSignal(helpers.abortSignal, signal)
    try {
      return await work(delivery, payload, { ...helpers, abortSignal: abort.signal })
    } finally {
      abort.unlink()
    }
  }

  async function alone(delivery: Delivery, payload: unknown): Promise<Result> {
    await orGiveBack(delivery, async () => {
      if (needsRow(delivery, tracked)) await begin(delivery, options)
    })
    return workInPlace(delivery, payload, (helpers) => work(delivery, payload, helpers))
  }

  return protectedTask(context, { alone, within, handler }, plain)
}

/**
 * Without a row of its own a job stands behind its pool's. A job that is tried again has one: it may have been in flight
 * in dying processes, so that it must be kept apart, and counted by itself.
 */
const needsRow = ({ pool, job }: Delivery, tracked: boolean): boolean =>
  tracked || pool.marksStarts || job.attempts > 1

async function begin(delivery: Delivery, options: TrackOptions): Promise<OwnRow> {
  const { guard, pool, job, onExhausted } = delivery
  const payload = { ...startedPayload(job), onExhausted }
  const row = await guard.register(pool, job, payload, { ...options, signal: pool.closing })
  delivery.own = new OwnRow(row, delivery)
  return delivery.own
}
