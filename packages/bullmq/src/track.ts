import type { ProtectedProcessor, WrappedProcessor } from './bullmq.js'
import { callProcessor } from './call-processor.js'
import type { Deliveries } from './deliveries.js'
import type { TrackOptions } from './options.js'

/** A processor whose jobs stay active in BullMQ while they run, each with a row of its own. */
export function trackProcessor<Data, Result, Name extends string>(
  deliveries: Deliveries,
  processor: ProtectedProcessor<Data, Result, Name>,
  options: TrackOptions,
): WrappedProcessor<Data, Result, Name> {
  return (job, token, signal) =>
    deliveries.run(job, token, { kind: 'track', options }, (delivery) => {
      delivery.hear(signal)
      return callProcessor(processor, job, delivery)
    })
}
