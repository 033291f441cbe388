import { ConfigError, overdue, Semaphore } from '@holdfast/core'
import type { BeeHandler, BeeJobInternals } from './bee-queue.js'
import { callHandler } from './call-handler.js'
import type { Delivery } from './delivery.js'
import type { HandOffOptions } from './options.js'
import type { ProtectedQueue } from './protected-queue.js'

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

  /** Resolves when the job is registered or is not to run here. bee-queue then ends it. */
  async begin(queue: ProtectedQueue, job: BeeJobInternals): Promise<void> {
    const places = this.#places
    let placed = false
    const leave = (): void => {
      if (placed) places.release()
      placed = false
    }
    const { timeout } = job.options
    try {
      const delivery = await queue.deliver(job, {
        kind: 'handOff',
        // bee-queue's own timeout is about the handing off.
        options: { ...(timeout > 0 ? { maxRuntime: timeout } : {}), ...this.#options },
        place: async (signal) => {
          placed = await places.acquire(signal)
        },
        onAcknowledged: (delivery, taken) => {
          if (taken) void this.#work(queue, delivery).catch(queue.report).finally(leave)
          else leave()
        },
      })
      if (delivery === undefined) leave()
    } catch (error) {
      leave()
      throw error
    }
  }

  async #work(queue: ProtectedQueue, delivery: Delivery): Promise<void> {
    const { job, signal } = delivery
    const failure = await Promise.race([callHandler(this.#handler, job, delivery), overdue(signal)]).then(
      () => undefined,
      (error: unknown) => ({ error }),
    )
    const became = await delivery.settle()
    if (failure !== undefined && became === 'open') return this.#fail(queue, delivery, failure.error)
    const ours = await queue.ended(delivery)
    if (became === 'ended') await delivery.letGo()
    else if (ours) await delivery.write([])
    if (failure === undefined || became === 'lost') return
    // It has committed its effects: there is nothing to try again.
    const cause = failure.error
    queue.report(
      new Error(`The handler of job ${job.id} failed after it had ended its task; the job has succeeded.`, {
        cause,
      }),
    )
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
    const finished = await queue.finish(delivery, { error, data: undefined, first })
    if (finished === undefined) return
    const [status] = finished
    queue.queue.emit(status, job, error)
    queue.queue.emit(status === 'retrying' ? 'failed' : 'failed:fatal', job, error)
  }
}
