import { linkedSignal } from '@holdfast/core'
import { type JobInternals, leaveAlone, type ProtectedProcessor, type WrappedProcessor } from './bullmq.js'
import { callProcessor } from './call-processor.js'
import type { Deliveries } from './deliveries.js'
import type { TrackOptions } from './options.js'

/** A processor whose jobs stay active in BullMQ while they run, each with a row of its own. */
export function trackProcessor<Data, Result, Name extends string>(
  deliveries: Deliveries,
  processor: ProtectedProcessor<Data, Result, Name>,
  options: TrackOptions,
): WrappedProcessor<Data, Result, Name> {
  return async (job, token, signal) => {
    const delivery = await deliveries.deliver(job as unknown as JobInternals, token!, {
      kind: 'track',
      options,
    })
    if (delivery === undefined) throw leaveAlone(job)
    const linked = linkedSignal(delivery.task.signal, signal)
    let result: Result
    try {
      result = await callProcessor(processor, delivery, linked.signal)
    } catch (error) {
      await deliveries.returned(delivery, { error })
      throw error
    } finally {
      linked.unlink()
    }
    await deliveries.returned(delivery)
    return result
  }
}
