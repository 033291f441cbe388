import { ConfigError, overdue, Semaphore } from '@holdfast/core'
import type { BeeHandler, BeeJob } from './bee-queue.js'
import { callHandler } from './call-handler.js'
import type { Delivery } from './delivery.js'
import type { HandOffOptions } from './options.js'
import type { DeliveryOptions, ProtectedQueue } from './protected-queue.js'
import { thrownTooLate } from './thrown.js'

/** Has bee-queue see a job as succeeded as soon as it is registered, while the work goes on in this process. */
export class HandOff<Data, Result> {
  readonly #handler: BeeHandler<Data, Result>
  readonly #options: Omit<HandOffOptions, 'concurrency'>
  readonly #places: Semaphore

  /** @throws ConfigError */
  constructor(handler: BeeHandler<Data, Result>, { concurrency, ...options }: HandOffOptions) {
    if (!Number.isSafeInteger(concurrency) || concurrency < 1) {
      throw new ConfigError(`concurrency must be a whole number of at least 1: ${concurrency}.`)
    }
    this.#handler = handler
    this.#options = options
    this.#places = new Semaphore(concurrency)
  }

  /** Resolves when the job is registered, for bee-queue to see it as succeeded; when its work is done, where it isn't. */
  async begin(queue: ProtectedQueue, job: BeeJob): Promise<void> {
    const places = this.#places
    let placed = false
    const { timeout } = job.options
    const options: DeliveryOptions = {
      kind: 'handOff',
      // bee-queue's own timeout is about the handing off.
      options: { ...(timeout > 0 ? { maxRuntime: timeout } : {}), ...this.#options },
      place: async (signal) => {
        placed = await places.acquire(signal)
      },
      onAcknowledged: (delivery) => void this.#finish(queue, delivery, job).catch(queue.report),
      onGone: () => {
        if (placed) places.release()
        placed = false
      },
    }
    await queue.run(job, options, async (delivery, isFirst) => {
      if (!isFirst || !delivery.handsOff) await this.#work(delivery, job)
    })
  }

  #work(delivery: Delivery, job: BeeJob): Promise<unknown> {
    return Promise.race([callHandler(this.#handler, job, delivery), overdue(delivery.signal)])
  }

  async #finish(queue: ProtectedQueue, delivery: Delivery, job: BeeJob): Promise<void> {
    const failure = await this.#work(delivery, job).then(
      () => undefined,
      (error: unknown) => ({ error }),
    )
    const became = await delivery.own!.outcome()
    if (failure !== undefined && became === 'open') return this.#fail(queue, delivery, failure.error)
    const ours = await queue.ended(delivery)
    // Redis need not know any more whose it was.
    if (ours && became !== 'released') await delivery.write([])
    if (failure !== undefined && (became === 'completed' || became === 'released')) {
      queue.report(thrownTooLate(job.id, became, failure.error))
    }
  }

  /** bee-queue's own retries and backoff say what becomes of it. */
  async #fail(queue: ProtectedQueue, delivery: Delivery, error: unknown): Promise<void> {
    if (delivery.cutShort) {
      await delivery.handBack()
      await queue.ended(delivery)
      return
    }
    const { job } = delivery
    const first = [['srem', queue.queue.toKey('succeeded'), job.id]]
    const finished = await queue.finish(delivery, { error, first })
    if (finished === undefined) return
    const [status] = finished
    queue.queue.emit(status, job, error)
    queue.queue.emit(status === 'retrying' ? 'failed' : 'failed:fatal', job, error)
  }
}
