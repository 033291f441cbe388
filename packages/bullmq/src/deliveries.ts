import { setTimeout as delay } from 'node:timers/promises'
import { ConfigError, type Monitor } from '@holdfast/core'
import type { Job } from 'bullmq'
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
import { thrownTooLate } from './thrown.js'

/** Milliseconds after which it is said what a job waits for. */
const HINT_AFTER = 10_000

/** Milliseconds that a stop whose drain is over may take to see what has committed. */
const LAST_LOOK = 1_000

/** Milliseconds between looks whether BullMQ has written an end. */
const LOOK = 20

const notStarted = (): Error => new Error('Jobs wait for the monitor: `await monitor.start()`.')

export interface DeliveryOptions extends Pick<DeliveryParts, 'kind' | 'options' | 'place'> {
  /** Takes the job over once BullMQ has seen it end (hand-off). */
  readonly onCompleted?: (delivery: Delivery) => void
  /** It is no longer in this process's hands. */
  readonly onGone?: () => void
}

/** A job that a processor was called with. */
interface Delivered {
  readonly delivery: Delivery
  readonly options: DeliveryOptions
  readonly begun: Promise<boolean>
  /** The calls of its processor that are under way, from before it has begun. */
  readonly calls: Set<Promise<unknown>>
}

/** Of another adapter's, too: a job is protected once. */
const DELIVERED = Symbol.for('@holdfast/bullmq')

type ProtectedOriginal = JobInternals & { readonly [DELIVERED]?: Delivered }

/** BullMQ's own job, which it will write the end of, where a wrapper has derived another from it. */
function originalOf(given: Job): ProtectedOriginal {
  let job: object = given
  for (let base: object | null = given; base !== null; base = Object.getPrototypeOf(base)) {
    if (Object.hasOwn(base, 'queue')) job = base
  }
  if (typeof (job as Partial<Job>).moveToCompleted === 'function') return job as ProtectedOriginal
  throw new ConfigError(
    `A wrapper of a protected processor must pass on the job that it was called with; this is a copy of job ${given?.id}.`,
  )
}

/** The jobs that this process has in hand, of all its workers. */
export class Deliveries {
  readonly #name: string
  readonly #queues: readonly QueueInternals[]
  readonly #monitor: () => Promise<Monitor>
  readonly #inHand = new Map<Delivery, DeliveryOptions>()
  readonly #workers = new Set<WorkerInternals>()
  /** The Redis that jobs of a queue began on last, and since when. */
  readonly #servers = new Map<string, { server: string; since: number }>()
  readonly #emptied: (() => void)[] = []
  #started = false
  #stopping = false

  constructor(name: string, queues: readonly QueueInternals[], monitor: Promise<Monitor>) {
    this.#name = name
    this.#queues = queues
    this.#monitor = () => monitor
    void monitor.then(() => {
      this.#started = true
    })
  }

  /**
   * Has a job that was fetched begin, and calls its processor: protected once, however often that was wrapped.
   *
   * @param given the job as a wrapper has it, which may be one that it has derived from BullMQ's
   * @param token of the fetch; a wrapper may not have passed it on
   * @param work whether it is the first to be called for the job: others find it begun
   * @throws PayloadError, PayloadTooLargeError, ConfigError; what the processor throws; Error that keeps BullMQ from
   * writing an end, when it is not to run here
   */
  run<T>(
    given: Job,
    token: string | undefined,
    options: DeliveryOptions,
    work: (delivery: Delivery, isFirst: boolean) => Promise<T>,
  ): Promise<T> {
    const job = originalOf(given)
    const delivered = job[DELIVERED] ?? this.#begin(job, token ?? job.token!, options)
    const { delivery, begun, calls } = delivered
    const isFirst = delivered.options === options
    const call = (async () => {
      if (!(await begun)) throw leaveAlone(job)
      if (delivery.own!.isRunning) return work(delivery, isFirst)
      // A wrapper tries again: not what has gone its way.
      const became = isFirst ? 'open' : delivery.handsOff ? 'completed' : await delivery.own!.became()
      if (became === 'completed') return undefined as T
      if (became !== 'open') throw leaveAlone(job)
      return this.#end(delivery, () => work(delivery, isFirst))
    })()
    calls.add(call)
    return call.finally(() => calls.delete(call))
  }

  #begin(job: ProtectedOriginal, token: string, options: DeliveryOptions): Delivered {
    const worker = job.queue
    const queue = this.#queues.find((queue) => keysOf(queue) === keysOf(worker))
    if (queue === undefined) {
      const name = JSON.stringify(worker.name)
      throw new Error(`Queue ${name} is not protected: add it to \`bullmqAdapter({ queues: […] })\`.`)
    }
    this.#watch(worker)
    const delivery: Delivery = new Delivery(job, token, {
      ...{ ...options, queue, name: this.#name, monitor: this.#monitor },
      holds: () => this.#holderBesides(delivery) !== undefined,
      doubts: (keys, server, patience) => this.#doubts(keys, server, patience),
    })
    this.#inHand.set(delivery, options)
    const calls = new Set<Promise<unknown>>()
    hookEnds(delivery, {
      ...{ handsOff: options.onCompleted, calls },
      ended: (how) => this.#over(delivery, how),
    })
    const begin = async (): Promise<boolean> => {
      const begun = await this.#deliver(delivery).catch((error) => {
        this.remove(delivery)
        throw error
      })
      if (!begun) await this.#refused(delivery)
      return begun
    }
    const value: Delivered = { delivery, options, calls, begun: begin() }
    Object.defineProperty(job, DELIVERED, { value })
    return value
  }

  async #deliver(delivery: Delivery): Promise<boolean> {
    const { worker } = delivery
    // Some versions fetch one more although their worker closes.
    if (this.#stopping || worker.closing !== undefined) delivery.cancel()
    const late = this.#started ? undefined : setTimeout(() => worker.emit('error', notStarted()), HINT_AFTER)
    return delivery.begin().finally(() => clearTimeout(late))
  }

  async #refused(delivery: Delivery): Promise<void> {
    const { worker } = delivery
    this.remove(delivery)
    void this.#holderBesides(delivery)
      ?.resume()
      .catch((error) => worker.emit('error', error))
    // Some versions fetch the next one although their worker is paused.
    if (this.#stopping && !worker.closing)
      await new Promise<void>((resolve) => worker.once('closing', () => resolve()))
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
    const ends = [...this.#inHand.keys()].map((delivery) => this.#endCommitted(delivery))
    await Promise.race([Promise.all(ends), delay(LAST_LOOK, undefined, { ref: false })])
    const closed = Promise.all([...this.#workers].map((worker) => worker.close()))
    const over = new Promise((resolve) => {
      if (signal.aborted) resolve(undefined)
      signal.addEventListener('abort', resolve, { once: true })
    })
    await Promise.race([closed, over])
  }

  /** What has committed has ended, although its processor goes on: nobody else would know. */
  async #endCommitted(delivery: Delivery): Promise<void> {
    if (delivery.handsOff || delivery.state !== 'running') return
    if ((await delivery.own!.became()) !== 'completed') return
    if (delivery.own!.isRunning) return this.handBack(delivery)
    // BullMQ has heard of it, and writes its end.
    while (this.#inHand.has(delivery)) await delay(LOOK, undefined, { ref: false })
  }

  /** The job leaves this process's hands: its end is written, or it is given back. */
  async #over(delivery: Delivery, how: 'endRow' | 'handBack'): Promise<void> {
    try {
      await delivery[how]()
    } catch (error) {
      delivery.worker.emit('error', error as Error)
    }
    this.remove(delivery)
  }

  /**
   * Runs a processor, of which BullMQ is to write the end.
   *
   * @throws Error that keeps it from that, where it can't: its worker was closed by force, the job's time was cut short,
   * or its processor has given it back
   */
  async #end<T>(delivery: Delivery, work: () => Promise<T>): Promise<T> {
    delivery.returned = false
    let result: T | undefined
    let failure: { readonly error: unknown } | undefined
    try {
      result = await work()
    } catch (error) {
      failure = { error }
    }
    // BullMQ goes on without an end of it.
    if (failure !== undefined && hasMoved(failure.error) && delivery.state === 'ended') throw failure.error
    // A transaction that ends the task may be open still: an end that BullMQ has written would outlive its rollback.
    const became = await delivery.own!.became()
    const { worker, job } = delivery
    if (failure !== undefined && (became === 'completed' || became === 'released')) {
      worker.emit('error', thrownTooLate(job.id, became, failure.error))
    }
    if (became === 'released' || (became === 'completed' && delivery.state === 'ended')) {
      await this.ended(delivery)
      throw leaveAlone(job)
    }
    if (failure !== undefined && became !== 'completed' && hasMoved(failure.error)) {
      await this.ended(delivery)
      throw failure.error
    }
    const isCutShort =
      failure !== undefined && (became === 'lost' || (became === 'open' && delivery.cutShort))
    if (worker.closed || isCutShort) {
      await this.handBack(delivery)
      throw leaveAlone(job)
    }
    delivery.returned = true
    if (failure !== undefined && became !== 'completed') throw failure.error
    return result as T
  }

  /** Ends the row of a job that has ended. */
  ended(delivery: Delivery): Promise<void> {
    return this.#over(delivery, 'endRow')
  }

  /** Has others run a job that had begun, unless that has committed: then it is completed. */
  async handBack(delivery: Delivery): Promise<void> {
    if ((await delivery.own!.outcome()) === 'completed') await this.#complete(delivery)
    await this.#over(delivery, 'handBack')
  }

  async #complete(delivery: Delivery): Promise<void> {
    const { worker, job, token } = delivery
    try {
      await delivery.move((ends) => ends.moveToCompleted(undefined, token, false))
    } catch (cause) {
      const why = `Job ${job.id} has committed, which BullMQ could not be told: once its lock has run out, it runs again.`
      worker.emit('error', new Error(why, { cause }))
    }
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
