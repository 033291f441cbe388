import type { Monitor, QueueAdapter } from '@holdfast/core'
import type { BeeHandler, BeeJob, BeeJobInternals, BeeQueue, WrappedHandler } from './bee-queue.js'
import { callHandler } from './call-handler.js'
import { checkOptions } from './check-options.js'
import { HandOff } from './hand-off.js'
import type { HandOffOptions, TrackOptions } from './options.js'
import { ProtectedQueue } from './protected-queue.js'
import { recoverJobs } from './recover.js'

export interface BeeQueueAdapterOptions {
  /** The queues whose jobs are protected: `Queue`s of bee-queue's, made before and not yet processing. */
  readonly queues: readonly BeeQueue[]
  /**
   * The name written on every task row. Processes that have the same name must have the same queues.
   * @default 'bee-queue'
   */
  readonly name?: string
}

export interface BeeQueueAdapter extends QueueAdapter {
  /**
   * *Track*: wraps a handler, in its promise or its callback form: `queue.process(10, adapter.track(handler))`. The job
   * stays active in bee-queue while it runs; results, events, retries, timeouts and `close()` work as before.
   */
  // biome-ignore lint/suspicious/noExplicitAny: as bee-queue's own types have it
  track<Data = any, Result = any>(
    handler: BeeHandler<Data, Result>,
    options?: TrackOptions,
  ): WrappedHandler<Data, Result>
  /**
   * *Hand-off*: bee-queue sees the job as succeeded once it is registered, while the handler goes on here, as many as
   * `concurrency` at a time. For patient work whose result nobody waits for. Failures are retried by the job's own
   * retries and backoff.
   *
   * @throws ConfigError for a wrong concurrency
   */
  // biome-ignore lint/suspicious/noExplicitAny: as bee-queue's own types have it
  handOff<Data = any>(handler: BeeHandler<Data, unknown>, options: HandOffOptions): WrappedHandler<Data, void>
}

/**
 * Connects bee-queue 1.7 and 2, with the clients that they know: redis 3 and ioredis 4.
 *
 * @throws ConfigError naming every wrong option, and queues that process already, whose client bee-queue mistakes for
 * settings, or whose client has a prefix of its own
 */
export function beeQueueAdapter(options: BeeQueueAdapterOptions): BeeQueueAdapter {
  const { queues, name } = checkOptions(options)
  let started!: (monitor: Monitor) => void
  const monitor = new Promise<Monitor>((resolve) => {
    started = resolve
  })
  const protectedQueues = queues.map((queue) => new ProtectedQueue(queue, { name, monitor: () => monitor }))
  const of = (job: BeeJob): ProtectedQueue => {
    const { queue } = job as BeeJobInternals
    const found = protectedQueues.find((candidate) => candidate.queue === queue)
    if (found !== undefined) return found
    throw new Error(
      `Queue ${JSON.stringify(queue?.name)} is not protected: add it to \`beeQueueAdapter({ queues: […] })\`.`,
    )
  }
  return Object.freeze<BeeQueueAdapter>({
    name,
    capabilities: Object.freeze({ atomicRecovery: false, preservesJobId: true, delay: false }),
    recover: (jobs, context) => recoverJobs(protectedQueues, jobs, context),
    async onStart(monitor) {
      // After what `stop()` hands over nothing of us needs Redis. It comes too when this start fails.
      monitor.on('stopped', () => {
        for (const queue of protectedQueues) void queue.close()
      })
      await Promise.all(protectedQueues.map((queue) => queue.start(monitor)))
      started(monitor)
    },
    onEvicted() {
      for (const queue of protectedQueues) queue.evicted()
    },
    async onStop(_monitor, signal) {
      await Promise.all(protectedQueues.map((queue) => queue.stop(signal)))
    },
    track:
      (handler, trackOptions = {}) =>
      async (job) =>
        of(job).run(job, { kind: 'track', options: trackOptions }, (delivery) =>
          callHandler(handler, job, delivery),
        ) as never,
    handOff(handler, handOffOptions) {
      const handOff = new HandOff(handler, handOffOptions)
      return async (job) => handOff.begin(of(job), job)
    },
  })
}
