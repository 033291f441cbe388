import { ConfigError, overdue, Semaphore, TaskLostError } from '@holdfast/core'
import { type JobInternals, leaveAlone, type ProtectedProcessor, type WrappedProcessor } from './bullmq.js'
import { callProcessor } from './call-processor.js'
import type { Deliveries } from './deliveries.js'
import type { Delivery } from './delivery.js'
import type { HandOffOptions } from './options.js'

/**
 * A processor whose jobs BullMQ sees as completed as soon as they are registered, while the work goes on in this process.
 *
 * @throws ConfigError
 */
export function handOffProcessor<Data, Name extends string>(
  deliveries: Deliveries,
  processor: ProtectedProcessor<Data, unknown, Name>,
  { concurrency, ...options }: HandOffOptions,
): WrappedProcessor<Data, void, Name> {
  if (!Number.isSafeInteger(concurrency) || concurrency < 1) {
    throw new ConfigError(`concurrency must be a whole number of at least 1: ${concurrency}.`)
  }
  const places = new Semaphore(concurrency)
  return async (job, token, _signal) => {
    let placed = false
    const delivery = await deliveries.deliver(job as unknown as JobInternals, token!, {
      ...{ kind: 'handOff', options },
      place: async (signal) => {
        placed = await places.acquire(signal)
      },
      onCompleted: (delivery) => {
        work(deliveries, processor, delivery).catch((error) => delivery.worker.emit('error', error))
      },
      onGone: () => {
        if (placed) places.release()
        placed = false
      },
    })
    if (delivery === undefined) throw leaveAlone(job)
    await deliveries.returned(delivery)
  }
}

async function work<Data, Name extends string>(
  deliveries: Deliveries,
  processor: ProtectedProcessor<Data, unknown, Name>,
  delivery: Delivery,
): Promise<void> {
  const { signal } = delivery.task
  delivery.job.attemptsMade -= 1 // That it was handed off is no attempt.
  let failure: Error | undefined
  try {
    await Promise.race([callProcessor(processor, delivery, signal), overdue(signal)])
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error))
  }
  const isOpen = (await delivery.settle()) === 'open'
  if (failure !== undefined && isOpen) return fail(deliveries, delivery, failure)
  await deliveries.ended(delivery)
  // It has committed its effects, or is others', so there is nothing to try again.
  if (failure !== undefined && !delivery.cutShort) throw failure
}

/** BullMQ's own attempts and backoff say what becomes of it. */
async function fail(deliveries: Deliveries, delivery: Delivery, failure: Error): Promise<void> {
  const { job, token, worker } = delivery
  if (delivery.cutShort || worker.closed) return deliveries.handBack(delivery)
  try {
    if (!(await delivery.takeBack())) {
      await deliveries.ended(delivery)
      throw new TaskLostError(
        `Job ${job.id} is no longer this process's: its failure is discarded: ${failure.message}`,
      )
    }
    await job.moveToFailed(failure, token, false)
  } catch (cause) {
    if (!TaskLostError.is(cause)) await deliveries.handBack(delivery)
    throw cause
  }
  worker.emit('failed', job, failure, 'active')
}
