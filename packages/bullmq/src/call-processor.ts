import type { Job } from 'bullmq'
import type { ProtectedJob, ProtectedProcessor } from './bullmq.js'
import type { Delivery } from './delivery.js'
import { storableError } from './thrown.js'

/**
 * Calls a processor as BullMQ would, with what Holdfast adds.
 *
 * @param job as it was given to us: perhaps one that a wrapper has made of BullMQ's
 */
export function callProcessor<Data, Result, Name extends string>(
  processor: ProtectedProcessor<Data, Result, Name>,
  job: Job<Data, Result, Name>,
  { token, signal, own }: Delivery,
): Promise<Result> {
  Object.defineProperties(job, { signal: { value: signal }, task: { value: own!.handle } })
  return own!.work(
    async () => processor(job as ProtectedJob<Data, Result, Name>, token, signal),
    storableError,
  )
}
