import type { QueueAdapter, RecoveryContext } from '@holdfast/core'
import type { Task } from 'graphile-worker'
import { checkOptions, checkTaskOptions } from './check-options.js'
import { Guard } from './guard.js'
import { type HandOffHandler, handOffTask } from './hand-off.js'
import { inPlaceTask, type TrackHandler } from './in-place.js'
import { guardPlugin } from './plugin.js'
import type { TaskContext } from './protected-task.js'
import { expandOrphans } from './recovery/expand.js'
import { recoverJobs } from './recovery/recover.js'
import { type AnyDatabase, inDatabase, type Run } from './run.js'
import { graphileTables } from './tables.js'
import type { HandOffOptions, TaskOptions, TrackOptions } from './task-options.js'
import { Upkeep } from './upkeep.js'

/** `mode` and the rest of a task's options are for every task that is not named in `tasks`. */
export interface GraphileWorkerAdapterOptions extends TaskOptions {
  /**
   * The name written on every task row, without "@". With another schema than the default it goes on with that, as in
   * `graphile-worker@tenant_a`, so that adapters of several schemas never mistake each other's jobs.
   * @default 'graphile-worker'
   */
  readonly name?: string
  /** graphile-worker's schema. @default 'graphile_worker' */
  readonly schema?: string
  /**
   * A Kysely on graphile-worker's database, where the monitor is in another one. Recovery is then in two phases.
   * @default the monitor's own database
   */
  readonly db?: AnyDatabase
  /** Options by task identifier, instead of those for every task. */
  readonly tasks?: Readonly<Record<string, TaskOptions>>
  /**
   * Unlocks jobs whose lock is at least so old (ms, 600000 at least) and that no pool with this adapter works on. Longer
   * than any job of a worker *without* the adapter may run, and than `localQueue.ttl`.
   * @default off: other workers may run without the adapter
   */
  readonly sweepUnknownLocks?: number
}

/** Names of tasks, as graphile-worker's own types have them. */
export type TaskName = keyof GraphileWorker.Tasks | (string & {})

/** The payload that `GraphileWorker.Tasks` declares for a task; `unknown` where it declares none. */
export type PayloadOf<Name extends TaskName> = Name extends keyof GraphileWorker.Tasks
  ? GraphileWorker.Tasks[Name]
  : unknown

export interface GraphileWorkerAdapter extends QueueAdapter {
  /**
   * Put it into graphile-worker's preset, `run({ preset: { plugins: [adapter.plugin] } })`. It protects every task as the
   * options say, by default under *guard*: every job that a killed process of yours had locked is unlocked by another
   * within seconds.
   */
  readonly plugin: GraphileConfig.Plugin
  /**
   * *Track*: a task each of whose jobs has a row of its own while it runs, and whose handler gets `helpers.task`.
   *
   * @throws ConfigError
   */
  track<Name extends TaskName = string & {}>(
    handler: TrackHandler<PayloadOf<Name>>,
    options?: TrackOptions,
  ): Task<Name>
  /**
   * *Hand-off*: a task whose jobs graphile-worker sees as finished at once, while the handler goes on here, as many as
   * `concurrency` at a time. For patient work. A failure is retried by graphile-worker's own rules.
   *
   * @throws ConfigError
   */
  handOff<Name extends TaskName = string & {}>(
    handler: HandOffHandler<PayloadOf<Name>>,
    options: HandOffOptions,
  ): Task<Name>
}

/**
 * Connects graphile-worker.
 *
 * @throws ConfigError naming every wrong option
 */
export function graphileWorkerAdapter(options: GraphileWorkerAdapterOptions = {}): GraphileWorkerAdapter {
  const { name, schema, named, optionsOf, exhausted } = checkOptions(options)
  const { db, sweepUnknownLocks } = options
  const tables = graphileTables(schema)
  const sameDatabase = db === undefined
  const guard = new Guard({ queue: name, tables, exhausted, sameDatabase })
  const upkeep = new Upkeep(tables, sweepUnknownLocks)
  const context: TaskContext = { guard, tables, sameDatabase, exhausted }

  /** Works in the monitor's transaction, or in one of graphile-worker's database. */
  const inside = <T>(recovery: RecoveryContext, work: (run: Run) => Promise<T>): Promise<T> =>
    db === undefined
      ? work(inDatabase(recovery.trx))
      : db
          .transaction()
          .setIsolationLevel('read committed')
          .execute((trx) => work(inDatabase(trx)))

  /** A task under the adapter's options. */
  const protect = (task: Task, identifier: string): Task => {
    const { mode = 'guard', onExhausted: _, concurrency, ...rows } = optionsOf(identifier)
    if (mode === 'handOff') {
      return handOffTask(task as never, { concurrency: concurrency!, ...rows }, context, task)
    }
    return inPlaceTask(task, { ...rows, tracked: mode === 'track' }, context, task)
  }

  return Object.freeze<GraphileWorkerAdapter>({
    name,
    capabilities: Object.freeze({ atomicRecovery: sameDatabase, preservesJobId: false, delay: true }),
    async expand(orphans, recovery) {
      upkeep.watch(orphans)
      return inside(recovery, (run) => expandOrphans(run, tables, orphans, recovery))
    },
    recover: (jobs, recovery) =>
      inside(recovery, (run) => recoverJobs(run, { tables, exhausted }, jobs, recovery)),
    onSweep: (recovery) => inside(recovery, (run) => upkeep.keep(run, recovery)),
    onStart(monitor) {
      upkeep.monitor = monitor
      guard.start(monitor)
    },
    onEvicted: () => guard.evicted(),
    onStop: (_monitor, signal) => guard.stop(signal),
    plugin: guardPlugin({ guard, schema, named, protect }),
    track(handler, trackOptions = {}) {
      checkTaskOptions('adapter.track()', { mode: 'track', ...trackOptions })
      return inPlaceTask(handler as never, { ...trackOptions, tracked: true }, context) as never
    },
    handOff(handler, handOffOptions) {
      checkTaskOptions('adapter.handOff()', { mode: 'handOff', ...handOffOptions })
      return handOffTask(handler as never, handOffOptions, context) as never
    },
  })
}
