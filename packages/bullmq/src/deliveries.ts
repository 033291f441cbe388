import type { TaskMonitor } from '@holdfast/core'
import {
  hasMoved,
  type JobInternals,
  keysOf,
  leaveAlone,
  type QueueInternals,
  type WorkerInternals,
} from './bullmq.js'
import { Delivery, type DeliveryParts } from './delivery.js'
import { hookEnds } from './hook-ends.js'

/** Milliseconds after which it is said what a job waits for. */
const HINT_AFTER = 10_000

const notStarted = (): Error => new Error('Jobs wait for the monitor: `await monitor.start()`.')

export interface DeliveryOptions extends Pick<DeliveryParts, 'kind' | 'options' | 'place'> {
  /** Takes the job over once BullMQ has seen it end (hand-off). */
  readonly onCompleted?: (delivery: Delivery) => void
  /** It is no longer in this process's hands. */
  readonly onGone?: () => void
}

/** The jobs that this process has in hand, of all its workers. */
export class Deliveries {
  readonly #name: string
  readonly #queues: readonly QueueInternals[]
  readonly #monitor: () => Promise<TaskMonitor>
  readonly #inHand = new Map<Delivery, DeliveryOptions>()
  readonly #workers = new Set<WorkerInternals>()
  /** The Redis that jobs of a queue began on last, and since when. */
  readonly #servers = new Map<string, { server: string; since: number }>()
  readonly #emptied: (() => void)[] = []
  #started = false
  #stopping = false

  constructor(name: string, queues: readonly QueueInternals[], monitor: Promise<TaskMonitor>) {
    this.#name = name
    this.#queues = queues
    this.#monitor = () => monitor
    void monitor.then(() => {
      this.#started = true
    })
  }

  /**
   * Has a job that was fetched begin. Undefined when it is not to run here.
   *
   * @throws PayloadError, PayloadTooLargeError, ConfigError
   */
  async deliver(job: JobInternals, token: string, options: DeliveryOptions): Promise<Delivery | undefined> {
    const worker = job.queue
    if (!this.#queues.some((queue) => keysOf(queue) === keysOf(worker))) {
      const name = JSON.stringify(worker.name)
      throw new Error(`Queue ${name} is not protected: add it to \`bullmqAdapter({ queues: […] })\`.`)
    }
    this.#watch(worker)
    const delivery: Delivery = new Delivery(job, token, {
      ...{ ...options, name: this.#name, monitor: this.#monitor },
      holds: () => this.#holderBesides(delivery) !== undefined,
      doubts: (keys, server, patience) => this.#doubts(keys, server, patience),
    })
    this.#inHand.set(delivery, options)
    // Some versions fetch one more although their worker closes.
    if (this.#stopping || worker.closing !== undefined) delivery.cancel()
    const late = this.#started ? undefined : setTimeout(() => worker.emit('error', notStarted()), HINT_AFTER)
    const begun = await delivery
      .begin()
      .finally(() => clearTimeout(late))
      .catch((error) => {
        this.remove(delivery)
        throw error
      })
    if (!begun) {
      this.remove(delivery)
      void this.#holderBesides(delivery)
        ?.resume()
        .catch((error) => worker.emit('error', error))
      // Some versions fetch the next one although their worker is paused.
      if (this.#stopping && !worker.closing)
        await new Promise<void>((resolve) => worker.once('closing', () => resolve()))
      return undefined
    }
    hookEnds(delivery, {
      handsOff: options.onCompleted,
      ended: (how) => this.#end(delivery, how),
    })
    return delivery
  }

  /** Takes no more jobs, gives back what has not begun, and waits for the others until `signal` aborts. */
  async stop(signal: AbortSignal): Promise<void> {
    this.#stopping = true
    for (const delivery of this.#inHand.keys()) if (delivery.state === 'beginning') delivery.cancel()
    // A closing worker would cut the connection off that handed-off jobs need to fail.
    await Promise.all([...this.#workers].map((worker) => worker.pause(true)))
    await new Promise<void>((resolve) => {
      if (this.#inHand.size === 0 || signal.aborted) return resolve()
      this.#emptied.push(resolve)
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    const closed = Promise.all([...this.#workers].map((worker) => worker.close()))
    const over = new Promise((resolve) => {
      if (signal.aborted) resolve(undefined)
      signal.addEventListener('abort', resolve, { once: true })
    })
    await Promise.race([closed, over])
  }

  /** The job leaves this process's hands: its end is written, or it is given back. */
  async #end(delivery: Delivery, how: 'endRow' | 'handBack'): Promise<void> {
    try {
      await delivery[how]()
    } catch (error) {
      delivery.worker.emit('error', error as Error)
    }
    this.remove(delivery)
  }

  /**
   * BullMQ is to write the end of a job.
   *
   * @throws Error that keeps it from that, where it can't: its worker was closed by force, or the job's time was cut short
   */
  async returned(delivery: Delivery, outcome: { readonly error?: unknown } = {}): Promise<void> {
    if ('error' in outcome && hasMoved(outcome.error)) return this.ended(delivery)
    // A transaction that ends the task may be open still: an end that BullMQ has written would outlive its rollback.
    const isLost = (await delivery.settle()) === 'lost'
    if (delivery.worker.closed || ('error' in outcome && (isLost || delivery.cutShort))) {
      await this.handBack(delivery)
      throw leaveAlone(delivery.job)
    }
    delivery.returned = true
  }

  /** Ends the row of a job that has ended. */
  ended(delivery: Delivery): Promise<void> {
    return this.#end(delivery, 'endRow')
  }

  /** Has others run a job that had begun. */
  handBack(delivery: Delivery): Promise<void> {
    return this.#end(delivery, 'handBack')
  }

  remove(delivery: Delivery): void {
    const options = this.#inHand.get(delivery)
    if (!this.#inHand.delete(delivery)) return
    options?.onGone?.()
    if (this.#inHand.size > 0) return
    for (const resolve of this.#emptied.splice(0)) resolve()
  }

  /** Which other delivery of this process has the job: BullMQ has taken it for stalled, or Redis has lost it. */
  #holderBesides(delivery: Delivery): Delivery | undefined {
    const { jobRef } = delivery
    return [...this.#inHand.keys()].find(
      (other) =>
        jobRef !== undefined && other !== delivery && other.jobRef === jobRef && other.state !== 'ended',
    )
  }

  #watch(worker: WorkerInternals): void {
    if (this.#workers.has(worker)) return
    this.#workers.add(worker)
    const ofWorker = (): Delivery[] =>
      [...this.#inHand.keys()].filter((delivery) => delivery.worker === worker)
    // BullMQ has taken a job for stalled, or Redis has lost it.
    worker.on(
      'lockRenewalFailed' as never,
      ((ids: string[]) => {
        for (const delivery of ofWorker()) {
          if (ids.includes(delivery.job.id!)) void delivery.reclaim().catch(() => undefined) // Again with the next renewal.
        }
      }) as never,
    )
    // It waits for what it has fetched: that shall not wait for the database.
    worker.once('closing', () => {
      for (const delivery of ofWorker()) if (delivery.state === 'beginning') delivery.cancel()
    })
    worker.once('closed', () => {
      this.#workers.delete(worker)
      // Closed by force: BullMQ writes no end of what had run to it.
      for (const delivery of ofWorker()) if (delivery.returned) void this.handBack(delivery)
    })
    if (this.#stopping) void worker.pause(true).then(() => worker.close())
  }

  #doubts(keys: string, server: string, patience: number): boolean {
    const known = this.#servers.get(keys)
    if (known?.server === server) return performance.now() - known.since < patience
    this.#servers.set(keys, { server, since: performance.now() })
    return true
  }
}
