import { ConfigError, type Monitor, type QueueAdapter } from '@holdfast/core'
import type { BullmqQueue, ProtectedProcessor, WrappedProcessor } from './bullmq.js'
import { clientOf } from './bullmq.js'
import { checkOptions, checkProcessor, checkWorker } from './check-options.js'
import { Deliveries } from './deliveries.js'
import { expandOrphans } from './expand.js'
import { Guard } from './guard.js'
import { handOffProcessor } from './hand-off.js'
import type { HandOffOptions, TrackOptions } from './options.js'
import { recoverJobs } from './recover.js'
import { trackProcessor } from './track.js'

export interface BullmqAdapterOptions {
  /**
   * The queues whose jobs are protected: `Queue`s of BullMQ's, by which a job of a dead worker is given back. They stay
   * yours to close, after the monitor has stopped.
   */
  readonly queues: readonly BullmqQueue[]
  /**
   * The name written on every task row. Processes that have the same name must have the same queues.
   * @default 'bullmq'
   */
  readonly name?: string
}

export interface BullmqAdapter extends QueueAdapter {
  /**
   * *Track*: wraps a processor, `new Worker(name, adapter.track(processor), opts)`. The job stays active in BullMQ while it
   * runs; results, events, attempts, flows, cancelling and `close()` work as before.
   *
   * @throws ConfigError for the path of a sandboxed processor
   */
  // biome-ignore lint/suspicious/noExplicitAny: as BullMQ's own types have it
  track<Data = any, Result = any, Name extends string = string>(
    processor: ProtectedProcessor<Data, Result, Name>,
    options?: TrackOptions,
  ): WrappedProcessor<Data, Result, Name>
  /**
   * *Hand-off*: BullMQ sees the job as completed once it is registered, while the processor goes on here, as many as
   * `concurrency` at a time. For patient work whose result nobody waits for. Failures are retried by the job's own
   * attempts and backoff.
   *
   * @throws ConfigError for a wrong concurrency, or the path of a sandboxed processor
   */
  // biome-ignore lint/suspicious/noExplicitAny: as BullMQ's own types have it
  handOff<Data = any, Name extends string = string>(
    processor: ProtectedProcessor<Data, unknown, Name>,
    options: HandOffOptions,
  ): WrappedProcessor<Data, void, Name>
  /**
   * *Guard*: one row stands for a worker as it is, and nothing is written per job. When its process dies, the jobs that it
   * has locked are given back. Await it before `worker.run()`, with `autorun: false`.
   *
   * @throws ConfigError for what is no worker of the adapter's queues
   */
  guard(worker: BullmqQueue): Promise<void>
}

/**
 * Connects BullMQ 5 and 6 on Redis, through ioredis.
 *
 * @throws ConfigError naming every wrong option
 */
export function bullmqAdapter(options: BullmqAdapterOptions): BullmqAdapter {
  const { queues, name } = checkOptions(options)
  let started!: (monitor: Monitor) => void
  const monitor = new Promise<Monitor>((resolve) => {
    started = resolve
  })
  const deliveries = new Deliveries(name, queues, monitor)
  const guard = new Guard(name, monitor)
  return Object.freeze<BullmqAdapter>({
    name,
    capabilities: Object.freeze({ atomicRecovery: false, preservesJobId: true, delay: true }),
    expand: (orphans, context) => expandOrphans(queues, orphans, context),
    recover: (jobs, context) => recoverJobs(queues, jobs, context),
    async onStart(monitor) {
      await Promise.all(
        queues.map((queue) =>
          clientOf(queue).catch((cause: Error) => {
            throw new ConfigError(cause.message, { cause })
          }),
        ),
      )
      started(monitor)
    },
    onEvicted: () => guard.evicted(),
    async onStop(_monitor, signal) {
      await Promise.all([deliveries.stop(signal), guard.stop(signal)])
    },
    track(processor, trackOptions = {}) {
      checkProcessor('track', processor)
      return trackProcessor(deliveries, processor, trackOptions)
    },
    handOff(processor, handOffOptions) {
      checkProcessor('handOff', processor)
      return handOffProcessor(deliveries, processor, handOffOptions)
    },
    guard: async (worker) => guard.protect(checkWorker(worker, queues)),
  })
}
