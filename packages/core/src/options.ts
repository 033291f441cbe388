import type { Kysely } from 'kysely'
import type { QueueAdapter } from './adapter.js'
import { MAX_TIMER } from './clock.js'
import { ConfigError } from './errors.js'
import type { Logger } from './logger.js'
import { stderrLogger } from './logger.js'
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
  /** Milliseconds between heartbeats. @default 3000 */
  readonly heartbeatInterval?: number
  /** Milliseconds after its last heartbeat at which this process counts as dead; at least 3 × heartbeatInterval. @default 12000 */
  readonly orphanThreshold?: number
  /** Milliseconds by which the lease ends earlier here than in the database. @default heartbeatInterval */
  readonly safetyMargin?: number
  /** Milliseconds between sweeps, fleet-wide per queue. @default 3000 */
  readonly sweepInterval?: number
  /** Milliseconds a sweeper's lock lives without renewal. @default max(2 × heartbeatInterval, 30000) */
  readonly gcLockTtl?: number
  /** How often a job may be recovered after crashes within `crashWindow`; the next crash quarantines it. @default 3 */
  readonly maxRecoveries?: number
  /** Milliseconds after its last crash at which a job's crash count is forgotten. @default 72 h */
  readonly crashWindow?: number
  /** Most rows in one statement or recovery transaction. @default 500 */
  readonly batchSize?: number
  /** Largest payload in bytes of JSON. @default 1048576 (1 MiB) */
  readonly maxPayloadBytes?: number
  /** Milliseconds the history of recoveries is kept. @default 7 days */
  readonly historyRetention?: number
  /** @default warnings and errors to stderr */
  readonly logger?: Logger
}

type Defaulted =
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

const HOUR = 3_600_000

/** @throws ConfigError naming every wrong option */
export function resolveConfig(options: TaskMonitorOptions): { config: MonitorConfig; logger: Logger } {
  const problems: string[] = []
  if (typeof options !== 'object' || options === null) {
    throw new ConfigError(`TaskMonitor takes an options object; this is ${show(options)}.`)
  }
  const heartbeatInterval = options.heartbeatInterval ?? 3_000
  const config: MonitorConfig = Object.freeze({
    heartbeatInterval,
    orphanThreshold: options.orphanThreshold ?? 12_000,
    safetyMargin: options.safetyMargin ?? heartbeatInterval,
    sweepInterval: options.sweepInterval ?? 3_000,
    gcLockTtl: options.gcLockTtl ?? Math.max(2 * heartbeatInterval, 30_000),
    maxRecoveries: options.maxRecoveries ?? 3,
    crashWindow: options.crashWindow ?? 72 * HOUR,
    batchSize: options.batchSize ?? 500,
    maxPayloadBytes: options.maxPayloadBytes ?? 1_048_576,
    historyRetention: options.historyRetention ?? 7 * 24 * HOUR,
    tablePrefix: options.tablePrefix ?? 'holdfast_',
    ...(options.schema === undefined ? {} : { schema: options.schema }),
    ...(options.label === undefined ? {} : { label: options.label }),
    ...(options.capacity === undefined ? {} : { capacity: options.capacity }),
  })
  checkNumbers(config, options, problems)
  checkAdapters(options.adapters, problems)
  problems.push(...storeProblems(options))
  if (typeof options.db?.withoutPlugins !== 'function') {
    problems.push('db must be a Kysely instance (new Kysely({ dialect: … }))')
  }
  for (const name of ['label', 'schema'] as const) {
    const value: unknown = options[name]
    if (value !== undefined && typeof value !== 'string')
      problems.push(`${name} must be a string: ${show(value)}`)
  }
  const unknown = Object.keys(options).filter((name) => !KNOWN.has(name))
  if (unknown.length > 0) problems.push(`there is no option ${unknown.map(show).join(', ')}`)
  if (problems.length > 0) throw configError(problems)
  return { config, logger: options.logger ?? stderrLogger }
}

/** What is wrong with the place of the tables. */
export function storeProblems({ tablePrefix = 'holdfast_', schema }: StoreOptions): string[] {
  const problems: string[] = []
  if (typeof tablePrefix !== 'string' || !/^[a-z_][a-z0-9_]{0,30}$/.test(tablePrefix)) {
    problems.push(`tablePrefix must match /^[a-z_][a-z0-9_]{0,30}$/: ${show(tablePrefix)}`)
  }
  if (schema !== undefined && (typeof schema !== 'string' || !/^[^\0"]{1,63}$/.test(schema))) {
    problems.push(`schema must be 1 to 63 characters without quotes: ${show(schema)}`)
  }
  return problems
}

export function configError(problems: readonly string[]): ConfigError {
  return new ConfigError(
    problems.length === 1
      ? `Wrong option: ${problems[0]}.`
      : `${problems.length} options are wrong:\n${problems.map((problem) => `- ${problem}`).join('\n')}`,
  )
}

const KNOWN = new Set<string>([
  ...['db', 'adapters', 'schema', 'tablePrefix', 'dialect', 'label', 'capacity', 'logger'],
  ...['heartbeatInterval', 'orphanThreshold', 'safetyMargin', 'sweepInterval', 'gcLockTtl'],
  ...['maxRecoveries', 'crashWindow', 'batchSize', 'maxPayloadBytes', 'historyRetention'],
])

const MOST: Partial<Record<string, number>> = {
  crashWindow: 100 * 365 * 24 * HOUR,
  historyRetention: 100 * 365 * 24 * HOUR,
}

function checkNumbers(config: MonitorConfig, given: TaskMonitorOptions, problems: string[]): void {
  const positive = ['heartbeatInterval', 'orphanThreshold', 'sweepInterval', 'gcLockTtl'] as const
  for (const name of [...positive, 'safetyMargin', 'crashWindow', 'historyRetention'] as const) {
    const value: unknown = config[name]
    const most = MOST[name] ?? MAX_TIMER
    if (typeof value === 'number' && value > 0 && value <= most) continue
    // A default that follows from a wrong option is not another mistake.
    if (given[name] !== undefined || name === 'heartbeatInterval') {
      problems.push(`${name} must be a positive number of milliseconds, at most ${most}: ${show(value)}`)
    }
  }
  for (const [name, least] of [
    ['maxRecoveries', 0],
    ['batchSize', 1],
    ['maxPayloadBytes', 1],
    ['capacity', 0],
  ] as const) {
    const value: unknown = config[name]
    if (value === undefined && name === 'capacity') continue
    if (!Number.isSafeInteger(value) || (value as number) < least) {
      problems.push(`${name} must be a whole number of at least ${least}: ${show(value)}`)
    }
  }
  if (config.batchSize > 5_000) problems.push(`batchSize must be at most 5000: ${show(config.batchSize)}`)
  const { heartbeatInterval, orphanThreshold, safetyMargin, gcLockTtl } = config
  if (orphanThreshold < 3 * heartbeatInterval) {
    problems.push(
      `orphanThreshold (${orphanThreshold}) must be at least 3 × heartbeatInterval (3 × ${heartbeatInterval})`,
    )
  }
  if (safetyMargin > orphanThreshold - 2 * heartbeatInterval) {
    problems.push(
      `safetyMargin (${safetyMargin}) must leave two heartbeats within orphanThreshold (at most ${orphanThreshold - 2 * heartbeatInterval})`,
    )
  }
  if (gcLockTtl < 2 * heartbeatInterval) {
    problems.push(
      `gcLockTtl (${gcLockTtl}) must be at least 2 × heartbeatInterval (2 × ${heartbeatInterval})`,
    )
  }
}

function checkAdapters(adapters: unknown, problems: string[]): void {
  if (!Array.isArray(adapters) || adapters.length === 0) {
    problems.push(`adapters must be an array of at least one adapter: ${show(adapters)}`)
    return
  }
  const names = new Set<string>()
  for (const [index, adapter] of (adapters as Partial<QueueAdapter>[]).entries()) {
    const { name } = adapter ?? {}
    if (typeof adapter?.recover !== 'function' || typeof adapter.capabilities !== 'object') {
      problems.push(`adapters[${index}] is no adapter: it lacks recover() or capabilities`)
    }
    if (typeof name !== 'string' || !/^[^\0]{1,191}$/.test(name)) {
      problems.push(`adapters[${index}].name must be 1 to 191 characters: ${show(name)}`)
    } else if (names.has(name)) {
      problems.push(`two adapters are named ${show(name)}: give one of them another name`)
    } else {
      names.add(name)
    }
    if (adapter?.capabilities?.atomicRecovery === false) {
      problems.push(`adapter ${show(name)} can't join the monitor's transaction, which this version requires`)
    }
  }
}

function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'object' && value !== null)
    return Array.isArray(value) ? `an array of ${value.length}` : 'an object'
  return String(value)
}
