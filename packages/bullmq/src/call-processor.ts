import type { ProtectedJob, ProtectedProcessor } from './bullmq.js'
import type { Delivery } from './delivery.js'

/** Calls a processor as BullMQ would, with what Holdfast adds. */
export function callProcessor<Data, Result, Name extends string>(
  processor: ProtectedProcessor<Data, Result, Name>,
  { job, token, task }: Delivery,
  signal: AbortSignal,
): Promise<Result> {
  Object.defineProperties(job, { signal: { value: signal }, task: { value: task } })
  return processor(job as unknown as ProtectedJob<Data, Result, Name>, token, signal)
}
