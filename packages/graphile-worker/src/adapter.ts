import type { QueueAdapter } from '@holdfast/core'
import type { Task } from 'graphile-worker'
import { Guard } from './guard.js'
import { type HandOffHandler, type HandOffOptions, handOffTask } from './hand-off.js'
import { guardPlugin } from './plugin.js'
import { expandOrphans } from './recovery/expand.js'
import { recoverJobs } from './recovery/recover.js'
import { graphileTables } from './tables.js'

export interface GraphileWorkerAdapterOptions {
  /** The name written on every task row; give each graphile-worker schema its own. @default 'graphile-worker' */
  readonly name?: string
  /** graphile-worker's schema. @default 'graphile_worker' */
  readonly schema?: string
}

export interface GraphileWorkerAdapter extends QueueAdapter {
  /**
   * *Guard*: put it into graphile-worker's preset, `run({ preset: { plugins: [adapter.plugin] } })`. Every job that a
   * killed process of yours had locked is unlocked by another within seconds. Writes nothing per job, except for jobs
   * of named queues and with `localQueue`.
   */
  readonly plugin: GraphileConfig.Plugin
  /**
   * *Hand-off*: makes a task whose jobs graphile-worker sees as finished at once, while the handler goes on here, as
   * many as `concurrency` at a time. For patient work. A failure is retried by graphile-worker's own rules.
   *
   * @throws TypeError for a wrong concurrency
   */
  handOff<Payload = unknown>(handler: HandOffHandler<Payload>, options: HandOffOptions): Task
}

/** Connects graphile-worker. The monitor must be in graphile-worker's own database. */
export function graphileWorkerAdapter(options: GraphileWorkerAdapterOptions = {}): GraphileWorkerAdapter {
  const { name = 'graphile-worker', schema = 'graphile_worker' } = options
  for (const [option, value] of Object.entries({ name, schema })) {
    if (typeof value !== 'string' || value === '')
      throw new TypeError(`${option} must be a non-empty string: ${value}`)
  }
  const tables = graphileTables(schema)
  const guard = new Guard(name)
  return Object.freeze<GraphileWorkerAdapter>({
    name,
    capabilities: Object.freeze({ atomicRecovery: true, preservesJobId: false, delay: true }),
    expand: (orphans, context) => expandOrphans(tables, orphans, context),
    recover: (jobs, context) => recoverJobs(tables, jobs, context),
    onStart: (monitor) => guard.start(monitor),
    onEvicted: () => guard.evicted(),
    onStop: (_monitor, signal) => guard.stop(signal),
    plugin: guardPlugin({ guard, schema }),
    handOff(handler, handOffOptions) {
      const { concurrency } = handOffOptions ?? {}
      if (!Number.isSafeInteger(concurrency) || concurrency < 1) {
        throw new TypeError(`concurrency must be a whole number of at least 1: ${concurrency}`)
      }
      return handOffTask(handler, { concurrency }, { guard, schema })
    },
  })
}
