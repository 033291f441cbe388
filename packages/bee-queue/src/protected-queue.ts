import { setTimeout as delay } from 'node:timers/promises'
import type { Monitor } from '@holdfast/core'
import type { BeeJob, BeeJobInternals, BeeQueueInternals, Finished, RedisClient } from './bee-queue.js'
import { PROTECTED } from './check-options.js'
import { checkRedis } from './check-redis.js'
import { Delivery, type DeliveryParts } from './delivery.js'
import { finishSurely } from './finish-commands.js'
import { loadScripts } from './load-scripts.js'
import { Pops } from './pops.js'
import { Presence } from './presence.js'
import { RedisLink } from './redis-link.js'
import { FORGET } from './scripts/forget.js'
import { GIVE_BACK } from './scripts/give-back.js'
import { startStallCheck } from './stall-check.js'
import { endLost, thrownTooLate } from './thrown.js'

/** Milliseconds after which it is said what a job waits for. */
const HINT_AFTER = 10_000

/** Milliseconds that a stop whose drain is over may take to see what has committed. */
const LAST_LOOK = 1_000

/** The job as bee-queue has it, also in what a wrapper makes of it. */
const POPPED = Symbol('as it was popped')

const notStarted = (): Error => new Error('Jobs wait for the monitor: `await monitor.start()`.')

const notWrapped = (queue: string): Error =>
  new Error(
    `The jobs of queue ${JSON.stringify(queue)} are not protected: wrap its handler, queue.process(adapter.track(handler)).`,
  )

export interface QueueParts {
  /** The adapter's name. */
  readonly name: string
  /** Resolves when the monitor has started. */
  monitor(): Promise<Monitor>
}

export interface DeliveryOptions extends Pick<DeliveryParts, 'kind' | 'options' | 'place'> {
  /** Takes the job over once bee-queue has seen it end (hand-off). */
  readonly onAcknowledged?: (delivery: Delivery) => void
  /** It is no longer in this process's hands. */
  readonly onGone?: () => void
}

/** A job that a handler was called with. */
interface Delivered {
  readonly delivery: Delivery
  readonly options: DeliveryOptions
  readonly begun: Promise<boolean>
  /** The calls of its handler that are under way, from before it has begun. */
  readonly calls: Set<Promise<unknown>>
}

/** A queue of bee-queue's whose jobs are protected. */
export class ProtectedQueue {
  readonly queue: BeeQueueInternals
  readonly prefix: string
  readonly link: RedisLink
  readonly #parts: QueueParts
  readonly #finish: BeeQueueInternals['_finishJob']
  readonly #pops: Pops
  /** What bee-queue ends by `_finishJob`. */
  readonly #deliveries = new WeakMap<BeeJobInternals, Delivered>()
  /** Those that have not ended. */
  readonly #inHand = new Set<Delivery>()
  /** The Redis that jobs begin on, and since when. */
  #known = { server: '', since: 0 }
  /** The Redis that the last heartbeat has met. */
  #met = ''
  #tokens = 0
  #stopping = false
  #warned = false
  #presence: Presence | undefined
  #stopStallCheck = (): void => undefined
  #emptied: (() => void)[] = []

  constructor(queue: BeeQueueInternals, parts: QueueParts) {
    this.queue = queue
    Object.defineProperty(queue, PROTECTED, { value: true })
    this.prefix = queue.settings.keyPrefix
    this.#parts = parts
    // Without a listener the process ends at the first loss of a connection.
    queue.on('error', (error) => {
      if (queue.listenerCount('error') === 1) console.error(`bee-queue ${queue.name}:`, error)
    })
    this.link = new RedisLink(queue, (client) => void this.#connected(client).catch(this.report))
    this.#finish = queue._finishJob
    queue._finishJob = (error, data, job) => this.#end(error, data, job)
    this.#pops = new Pops(queue, {
      onPop: (job) => Object.assign(job, { [POPPED]: job }),
      giveBack: (id) => this.#giveBack(id),
      unblock: (clientId) => this.link.unblock(clientId),
    })
    void queue.ready().then(() => {
      if (queue.bclient !== null) this.#pops.attach(queue.bclient)
    }, this.report)
  }

  /** Tells the queue's listeners. */
  readonly report = (error: unknown): void => {
    this.queue.emit('error', error)
  }

  /** @throws ConfigError when the queue can't be protected on its client; Error when Redis is not there */
  async start(monitor: Monitor): Promise<void> {
    const { queue, link, report } = this
    await checkRedis(queue, link)
    this.#presence = new Presence({
      ...{ link, monitor },
      onBeat: (server) => void this.#reclaim(server, monitor.processId).catch(report),
    })
    void this.#presence.beat()
    if (queue.settings.isWorker) this.#stopStallCheck = startStallCheck({ queue, link, report })
  }

  /** This process goes on under another id. */
  evicted(): void {
    void this.#presence?.beat()
  }

  /**
   * Has a job that was popped begin, and calls its handler: protected once, however often that was wrapped. Undefined
   * when it is not to run here, or not again: bee-queue is kept from writing an end of it.
   *
   * @param given the job as a wrapper has it, which may be one that it has made of bee-queue's
   * @param work whether it is the first to be called for the job: others find it begun
   * @throws PayloadError, PayloadTooLargeError, ConfigError; what the handler throws
   */
  run<T>(
    given: BeeJob,
    options: DeliveryOptions,
    work: (delivery: Delivery, isFirst: boolean) => Promise<T>,
  ): Promise<T | undefined> {
    const job = (given as { [POPPED]?: BeeJobInternals })[POPPED] ?? (given as BeeJobInternals)
    const delivered = this.#deliveries.get(job) ?? this.#begin(job, options)
    const { delivery, begun, calls } = delivered
    const isFirst = delivered.options === options
    const call = (async () => {
      if (!(await begun)) return undefined
      // A wrapper tries again: not what has gone its way.
      const isAgain = !isFirst && !delivery.own!.isRunning
      if (isAgain && (delivery.handsOff || (await delivery.own!.became()) !== 'open')) return undefined
      return work(delivery, isFirst)
    })()
    calls.add(call)
    return call.finally(() => calls.delete(call))
  }

  #begin(job: BeeJobInternals, options: DeliveryOptions): Delivered {
    const delivery = new Delivery(job, {
      ...{ ...options, ...this.#parts, link: this.link, prefix: this.prefix },
      newToken: (processId) => `${processId}#${++this.#tokens}`,
      holds: (token) => [...this.#inHand].some((other) => other.token === token),
      runsOn: (jobRef) =>
        [...this.#inHand].some((other) => other.own?.isReleased === true && other.jobRef === jobRef),
      doubts: (server, patience) => this.#doubts(server, patience),
      server: () => this.#known.server,
    })
    this.#inHand.add(delivery)
    if (this.#stopping) delivery.cancel()
    const late =
      this.#presence === undefined ? setTimeout(() => this.report(notStarted()), HINT_AFTER) : undefined
    const begin = async (): Promise<boolean> => {
      const begun = await delivery.begin().finally(() => clearTimeout(late))
      if (!begun) this.#remove(delivery)
      return begun
    }
    const delivered = { delivery, options, begun: begin(), calls: new Set<Promise<unknown>>() }
    this.#deliveries.set(job, delivered)
    return delivered
  }

  /** Takes no more jobs, gives back what has not begun, and waits for the others until `signal` aborts. */
  async stop(signal: AbortSignal): Promise<void> {
    this.#stopping = true
    this.#stopStallCheck()
    for (const delivery of this.#inHand) if (delivery.state === 'beginning') delivery.cancel()
    await this.#pops.halt()
    await new Promise<void>((resolve) => {
      if (this.#inHand.size === 0 || signal.aborted) return resolve()
      this.#emptied.push(resolve)
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    const ends = [...this.#inHand].map((delivery) => this.#endCommitted(delivery))
    await Promise.race([Promise.all(ends), delay(LAST_LOOK, undefined, { ref: false })])
  }

  /** What has committed has ended, although its handler goes on: nobody else would know. */
  async #endCommitted(delivery: Delivery): Promise<void> {
    if (delivery.handsOff || delivery.state !== 'running') return
    const became = await delivery.own?.became()
    if (became !== 'completed' || delivery.state !== 'running') return
    await this.finish(delivery, { hasSucceeded: true }).catch(this.report)
  }

  /** Closes the queue and our own connection. */
  async close(): Promise<void> {
    this.#presence?.stop()
    this.#stopStallCheck()
    // What still runs was handed over: nobody waits for it, but for what a transaction that is open may end.
    await this.queue.close(1).catch(() => undefined)
    await Promise.all([...this.#inHand].map((delivery) => this.#endCommitted(delivery)))
    await this.link.close()
  }

  /**
   * Lets bee-queue end a job in a way of its own, but only if the job is this process's still.
   *
   * @param hasSucceeded its handler has ended its task, so that it can't fail any more
   */
  async finish(
    delivery: Delivery,
    {
      error,
      data,
      first = [],
      keeps = false,
      hasSucceeded = false,
    }: { error?: unknown; data?: unknown; first?: string[][]; keeps?: boolean; hasSucceeded?: boolean },
  ): Promise<Finished> {
    const { queue } = this
    const { job, text } = delivery
    const finished = await finishSurely(
      this.#finish,
      { queue, error, data, job, text, hasSucceeded },
      (commands) => delivery.write([...first, ...commands], keeps),
      this.report,
    )
    // What a stop has handed over is others' to end, but not what has committed.
    if (finished === undefined && (hasSucceeded || !this.link.closed)) {
      this.report(endLost(job.id, hasSucceeded))
    }
    // The job has ended: nobody waits for its row, which may take long while the database is away.
    if (finished === undefined || !keeps) void this.ended(delivery)
    return finished
  }

  /** Ends the row of a job that has ended. False when it was others' by then. */
  async ended(delivery: Delivery): Promise<boolean> {
    const ours = await delivery.endRow().catch((error) => {
      this.report(error)
      return true
    })
    this.#remove(delivery)
    return ours
  }

  async #end(error: unknown, data: unknown, job: BeeJobInternals): Promise<Finished> {
    const known = this.#deliveries.get(job)
    if (known === undefined) {
      if (!this.#warned) this.report(notWrapped(this.queue.name))
      this.#warned = true
      return this.#finish.call(this.queue, error, data, job)
    }
    const { delivery, options, calls } = known
    for (const call of calls) {
      if (error) break
      // Its wrapper did not wait for it.
      await call.then(
        (result) => (data = result),
        (thrown) => (error = thrown),
      )
    }
    // bee-queue's timeout, before the handler has begun: that is not the job's fault.
    if (delivery.state === 'beginning') delivery.cancel()
    if (delivery.state === 'refused') return undefined
    if (delivery.handsOff && !error) {
      const finished = await this.finish(delivery, { data, keeps: true })
      if (finished !== undefined) options.onAcknowledged!(delivery)
      return finished
    }
    if (error) delivery.abort(error) // After bee-queue's timeout the handler still runs.
    const became = (await delivery.own?.outcome()) ?? 'open'
    const isDecided = became === 'completed' || became === 'released'
    if (error && isDecided) this.report(thrownTooLate(job.id, became, error))
    // A stop has seen that it has committed.
    if (delivery.state === 'ended') return undefined
    if (became === 'released') delivery.letGo()
    else if (error && !isDecided && delivery.cutShort) await delivery.handBack()
    else if (isDecided) return this.finish(delivery, { data, hasSucceeded: true })
    else return this.finish(delivery, { error, data })
    this.#remove(delivery)
    return undefined
  }

  #meet(server: string): void {
    if (this.#known.server !== server) this.#known = { server, since: performance.now() }
  }

  #doubts(server: string, patience: number): boolean {
    this.#meet(server)
    return performance.now() - this.#known.since < patience
  }

  async #connected(client: RedisClient): Promise<void> {
    await loadScripts(client)
    await this.#presence?.beat()
    // bee-queue gives up on delayed jobs when its script is missing.
    if (this.queue.settings.activateDelayedJobs && !this.queue.paused) this.queue._activateDelayed()
  }

  /** After Redis has lost data: what is in hand is said again, what is not is forgotten. */
  async #reclaim(server: string, processId: string): Promise<void> {
    const isOther = this.#met !== '' && this.#met !== server
    this.#met = server
    this.#meet(server)
    for (const delivery of this.#inHand) void delivery.reclaim(server).catch(() => undefined) // Again with the next beat.
    if (isOther) await this.link.run(FORGET, processId, ...[...this.#inHand].map(({ token }) => token))
  }

  async #giveBack(id: string): Promise<void> {
    try {
      await this.link.run(GIVE_BACK, id)
    } catch (error) {
      this.report(error) // The stall check gives it back later.
    }
  }

  #remove(delivery: Delivery): void {
    this.#inHand.delete(delivery)
    this.#deliveries.get(delivery.job)?.options.onGone?.()
    if (this.#inHand.size > 0) return
    for (const resolve of this.#emptied.splice(0)) resolve()
  }
}
