import type { BeeHandler, BeeJob, ProtectedJob } from './bee-queue.js'
import type { Delivery } from './delivery.js'
import { storableError } from './thrown.js'

/**
 * Calls a handler as bee-queue would, in its promise or its callback form: whichever comes first counts.
 *
 * @param job as it was given to us: perhaps one that a wrapper has made of bee-queue's
 */
export function callHandler<Data, Result>(
  handler: BeeHandler<Data, Result>,
  job: BeeJob,
  { signal, own, job: { queue } }: Delivery,
): Promise<Result> {
  Object.defineProperties(job, { signal: { value: signal }, task: { value: own!.handle } })
  return own!.work(
    () =>
      new Promise((resolve, reject) => {
        const returned = handler.call(queue, job as ProtectedJob<never>, (error, result) => {
          if (error) reject(error)
          else resolve(result as Result)
        })
        if (isThenable(returned)) resolve(returned)
      }),
    storableError,
  )
}

const isThenable = (value: unknown): value is PromiseLike<never> =>
  typeof (value as PromiseLike<never> | undefined)?.then === 'function'
