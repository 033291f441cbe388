import type { BeeHandler, BeeJobInternals, ProtectedJob } from './bee-queue.js'
import type { Delivery } from './delivery.js'

/** Calls a handler as bee-queue would, in its promise or its callback form: whichever comes first counts. */
export function callHandler<Data, Result>(
  handler: BeeHandler<Data, Result>,
  job: BeeJobInternals,
  { signal, task }: Delivery,
): Promise<Result> {
  Object.defineProperties(job, { signal: { value: signal }, task: { value: task } })
  return new Promise((resolve, reject) => {
    const returned = handler.call(job.queue, job as unknown as ProtectedJob<never>, (error, result) => {
      if (error) reject(error)
      else resolve(result as Result)
    })
    if (isThenable(returned)) resolve(returned)
  })
}

const isThenable = (value: unknown): value is PromiseLike<never> =>
  typeof (value as PromiseLike<never> | undefined)?.then === 'function'
