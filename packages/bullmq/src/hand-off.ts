import { ConfigError, overdue, Semaphore, TaskLostError } from '@holdfast/core'
import type { ProtectedProcessor, WrappedProcessor } from './bullmq.js'
import { callProcessor } from './call-processor.js'
import type { Deliveries, DeliveryOptions } from './deliveries.js'
import type { Delivery } from './delivery.js'
import type { HandOffOptions } from './options.js'
import { thrownTooLate } from './thrown.js'

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
  return async (job, token, signal) => {
    let placed = false
    const work = (delivery: Delivery): Promise<unknown> =>
      Promise.race([callProcessor(processor, job, delivery), overdue(delivery.signal)])
    const delivering: DeliveryOptions = {
      ...{ kind: 'handOff', options },
      place: async (signal) => {
        placed = await places.acquire(signal)
      },
      onCompleted: (delivery) => {
        finish(deliveries, delivery, work).catch((error) => delivery.worker.emit('error', error))
      },
      onGone: () => {
        if (placed) places.release()
        placed = false
      },
    }
    await deliveries.run(job, token, delivering, async (delivery, isFirst) => {
      if (isFirst && delivery.handsOff) return
      delivery.hear(signal)
      await work(delivery)
    })
  }
}

async function finish(
  deliveries: Deliveries,
  delivery: Delivery,
  work: (delivery: Delivery) => Promise<unknown>,
): Promise<void> {
  delivery.job.attemptsMade -= 1 // That it was handed off is no attempt.
  const failure = await work(delivery).then(
    () => undefined,
    (error: Error) => ({ error }),
  )
  const became = await delivery.own!.outcome()
  if (failure !== undefined && became === 'open') return fail(deliveries, delivery, failure.error)
  await deliveries.ended(delivery)
  if (failure !== undefined && (became === 'completed' || became === 'released')) {
    throw thrownTooLate(delivery.job.id, became, failure.error)
  }
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
