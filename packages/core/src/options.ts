import type { Kysely } from 'kysely'
import type { QueueAdapter } from './adapter.js'
import { checkOptions, show } from './check-options.js'
import { resolveTimes } from './check-times.js'
import type { PayloadCodec } from './codec.js'
import { ConfigError } from './errors.js'
import type { Logger } from './logger.js'
import { stderrLogger } from './logger.js'
import type { CrashPolicy } from './recovery/decide.js'
import type { DialectName } from './store/dialect.js'

/** Where the tables are. Must be the same for every process and for `migrate`. */
export interface StoreOptions {
  /** Postgres schema. @default the connection's search_path */
  readonly schema?: string
  /** Prefix of every table name. @default 'holdfast_' */
  readonly tablePrefix?: string
  /** @default found from the Kysely instance */
  readonly dialect?: DialectName
}

export interface TaskMonitorOptions extends StoreOptions {
  /** Your Kysely instance. Its plugins are not applied to our statements, and it is never destroyed by us. */
  // biome-ignore lint/suspicious/noExplicitAny: any schema of the user's must fit
  readonly db: Kysely<any>
  /** One adapter per queue whose tasks this process registers or recovers. */
  readonly adapters: readonly QueueAdapter[]
  /** A name for people, shown beside the process id. */
  readonly label?: string
  /** How many tasks this process takes at once; only reported. */
  readonly capacity?: number
  /** Milliseconds between heartbeats, at least 50. @default 3000, or less where a given orphanThreshold is short */
  readonly heartbeatInterval?: number
  /**
   * Milliseconds after its last heartbeat at which this process counts as dead; at least 3 × heartbeatInterval, at most a
   * day. Only those that have lived for as long themselves may judge it, so keep it far below the life of your processes.
   * @default 12000, or more for a longer heartbeatInterval or safetyMargin
   */
  readonly orphanThreshold?: number
  /**
   * Milliseconds by which the lease ends earlier here than in the database; at most orphanThreshold - 2 ×
   * heartbeatInterval. @default heartbeatInterval
   */
  readonly safetyMargin?: number
  /** Milliseconds between sweeps, fleet-wide per queue; at most 20 days. @default 3000 */
  readonly sweepInterval?: number
  /**
   * Milliseconds a sweeper's lock lives without renewal; at least safetyMargin + heartbeatInterval, at most a day.
   * @default 30000, or more for a longer safetyMargin or heartbeatInterval
   */
  readonly gcLockTtl?: number
  /**
   * A job runs again at once after its first crash; after its second it waits for twice these milliseconds, and for twice
   * as long with every further one, up to 60 s, ± 20 %. At most 60000. @default 1000
   */
  readonly recoveryBackoff?: number
  /**
   * Most jobs a second that sweeps make runnable again, per queue; at least one a minute, Infinity for no limit.
   * @default 1000
   */
  readonly recoveryRate?: number
  /**
   * What becomes of a job that was in flight in a dying process, unless its task says otherwise. By name it goes into the
   * rows of the tasks that this monitor takes, and holds for them whoever recovers them; a function can't, so that of such
   * tasks the function of whoever recovers them decides. @default 'requeue'
   */
  readonly onCrash?: CrashPolicy
  /**
   * A job that was in flight in two dying processes runs alone in its process from then on, so that a killer is known
   * by its third crash and takes no more company along. Needs tasks with a `jobRef`. @default true
   */
  readonly isolateSuspects?: boolean
  /** How often a job may be recovered after crashes within `crashWindow`; the next crash quarantines it. @default 3 */
  readonly maxRecoveries?: number
  /**
   * Milliseconds after its last crash at which a job's crash count is forgotten: at least twice orphanThreshold + 1.2 ×
   * sweepInterval + the longest pause of recoveryBackoff, and longer than your longest job. @default 72 h
   */
  readonly crashWindow?: number
  /** Most rows in one statement or recovery transaction. @default 500 */
  readonly batchSize?: number
  /** Largest payload in bytes of JSON. @default 1048576 (1 MiB) */
  readonly maxPayloadBytes?: number
  /**
   * Milliseconds the history of recoveries is kept, which also knows of tasks that had been completed in a transaction when
   * their dead process was recovered. @default 7 days
   */
  readonly historyRetention?: number
  /** Turns payloads into what is stored and back, for instance `aesGcmCodec`. Must be the same fleet-wide. */
  readonly codec?: PayloadCodec
  /**
   * When a task can't be registered for want of the database, or because its payload is too large: `throw`, or run it all
   * the same, without protection, with an `unprotected` event. @default 'throw'
   */
  readonly onRegisterFailure?: 'throw' | 'run-unprotected'
  /**
   * Keeps one connection of the pool for heartbeats, so that handlers that hold all the others can't starve them. A pool
   * that gives no second one is shared, with a warning, and asked again ever more rarely. `stop()` gives the connection
   * back: `db.destroy()` waits for that.
   *
   * With pg, a connection in use whose server goes away ends the process unless its client has an `error` listener, and
   * this one is always in use: `pool.on('connect', (client) => client.on('error', console.warn))`. mysql2 needs nothing.
   * @default true
   */
  readonly reserveConnection?: boolean
  /**
   * Beats from a thread with a connection of its own too, so that a handler that blocks the event loop for longer than
   * the lease, but not than `maxLoopBlock`, keeps its task. Needs `heartbeatConnection`; runs from `start()` to `stop()`.
   * While the thread can't beat, `heartbeatFailed` tells and the main thread beats.
   *
   * In a bundle the thread's code must stand beside it as `heartbeat-worker`, with the bundle's extension: webpack sees
   * to that; others take `@holdfast/core/heartbeat-worker` as a second entry, or leave `@holdfast/core` external.
   * @default false
   */
  readonly heartbeatThread?: boolean
  /**
   * Where the heartbeat thread connects to: the same database as `db`. Its URL, for which the thread loads `pg`
   * (`postgres:`, `postgresql:`) or `mysql2` (`mysql:`, `mariadb:`); or the `file:` URL of a module whose default export
   * is a function that makes a Kysely, which the thread calls.
   */
  readonly heartbeatConnection?: string | URL
  /**
   * Milliseconds that the event loop may be blocked before the heartbeat thread stops to beat; the process's tasks are
   * recovered when its lease has run out after that. At least `heartbeatInterval`; without the thread it means nothing,
   * and is refused. @default 60000, or heartbeatInterval if that is longer
   */
  readonly maxLoopBlock?: number
  /** Allows `clearAll()`. Never in production. @default false */
  readonly testing?: boolean
  /** @default warnings and errors to stderr */
  readonly logger?: Logger
}

type Defaulted =
  | 'recoveryBackoff'
  | 'recoveryRate'
  | 'onCrash'
  | 'isolateSuspects'
  | 'onRegisterFailure'
  | 'reserveConnection'
  | 'heartbeatThread'
  | 'maxLoopBlock'
  | 'testing'
  | 'heartbeatInterval'
  | 'orphanThreshold'
  | 'safetyMargin'
  | 'sweepInterval'
  | 'gcLockTtl'
  | 'maxRecoveries'
  | 'crashWindow'
  | 'batchSize'
  | 'maxPayloadBytes'
  | 'historyRetention'

/** The validated configuration of a monitor, all defaults filled in. Frozen. */
export type MonitorConfig = Readonly<Required<Pick<TaskMonitorOptions, Defaulted>>> &
  Readonly<Pick<TaskMonitorOptions, 'label' | 'capacity'>> & {
    readonly tablePrefix: string
    readonly schema?: string
  }

/** @throws ConfigError naming every wrong option */
export function resolveConfig(options: TaskMonitorOptions): { config: MonitorConfig; logger: Logger } {
  if (typeof options !== 'object' || options === null) {
    throw new ConfigError(`TaskMonitor takes an options object; this is ${show(options)}.`)
  }
  const config: MonitorConfig = Object.freeze({
    ...resolveTimes(options),
    onCrash: options.onCrash ?? 'requeue',
    isolateSuspects: options.isolateSuspects ?? true,
    onRegisterFailure: options.onRegisterFailure ?? 'throw',
    reserveConnection: options.reserveConnection ?? true,
    heartbeatThread: options.heartbeatThread ?? false,
    testing: options.testing ?? false,
    batchSize: options.batchSize ?? 500,
    maxPayloadBytes: options.maxPayloadBytes ?? 1_048_576,
    tablePrefix: options.tablePrefix ?? 'holdfast_',
    ...(options.schema === undefined ? {} : { schema: options.schema }),
    ...(options.label === undefined ? {} : { label: options.label }),
    ...(options.capacity === undefined ? {} : { capacity: options.capacity }),
  })
  checkOptions(config, options)
  return { config, logger: options.logger ?? stderrLogger }
}
