import type { Kysely } from 'kysely'
import type { QueueAdapter } from './adapter.js'
import { heartbeatThreadProblems } from './check-heartbeat-thread.js'
import { timeProblems } from './check-times.js'
import { ConfigError } from './errors.js'
import { isStorableId, isStorableText, STORABLE_ID } from './identity.js'
import type { MonitorConfig, StoreOptions, TaskMonitorOptions } from './options.js'
import { databaseOf } from './store/dialect.js'

/** Of a column in the database. */
const MAX_INTEGER = 2 ** 31 - 1

/** Jobs a second: with fewer a process's jobs would wait for hours and nothing would say why. */
const LEAST_RATE = 0.016

/** @throws ConfigError naming every wrong option */
export function checkOptions(config: MonitorConfig, options: TaskMonitorOptions): void {
  const problems: string[] = []
  problems.push(...timeProblems(config, options))
  checkNumbers(config, problems)
  checkChoices(config, options, problems)
  checkAdapters(options.adapters, problems)
  problems.push(...heartbeatThreadProblems(config, options))
  problems.push(...storeProblems(options, options.db))
  if (typeof options.db?.withoutPlugins !== 'function') {
    problems.push('db must be a Kysely instance (new Kysely({ dialect: … }))')
  }
  const unknown = Object.keys(options).filter((name) => !KNOWN.has(name))
  if (unknown.length > 0) problems.push(`there is no option ${unknown.map(show).join(', ')}`)
  if (problems.length > 0) throw configError(problems)
}

function checkChoices(config: MonitorConfig, options: TaskMonitorOptions, problems: string[]): void {
  for (const name of ['label', 'schema'] as const) {
    const value: unknown = options[name]
    if (value !== undefined && !isStorableText(value))
      problems.push(`${name} must be a string, well-formed and without NUL: ${show(value)}`)
  }
  for (const name of ['isolateSuspects', 'reserveConnection', 'testing'] as const) {
    if (typeof config[name] !== 'boolean')
      problems.push(`${name} must be true or false: ${show(config[name])}`)
  }
  const { onCrash, onRegisterFailure, recoveryRate } = config
  if (typeof onCrash !== 'function' && onCrash !== 'requeue' && onCrash !== 'quarantine') {
    problems.push(`onCrash must be 'requeue', 'quarantine' or a function: ${show(onCrash)}`)
  }
  if (onRegisterFailure !== 'throw' && onRegisterFailure !== 'run-unprotected') {
    problems.push(`onRegisterFailure must be 'throw' or 'run-unprotected': ${show(onRegisterFailure)}`)
  }
  if (typeof recoveryRate !== 'number' || !(recoveryRate >= LEAST_RATE)) {
    problems.push(
      `recoveryRate must be a number of jobs a second, at least ${LEAST_RATE} (one a minute), or Infinity: ${show(recoveryRate)}`,
    )
  }
  const { codec } = options
  if (codec !== undefined && (typeof codec?.encode !== 'function' || typeof codec.decode !== 'function')) {
    problems.push(`codec must be an object with encode() and decode(): ${show(codec)}`)
  }
}

/** What is wrong with the place of the tables, in the given database where there is one. */
export function storeProblems(
  { tablePrefix = 'holdfast_', schema, dialect }: StoreOptions,
  db?: Kysely<unknown>,
): string[] {
  const problems: string[] = []
  if (typeof tablePrefix !== 'string' || !/^[a-z_][a-z0-9_]{0,30}$/.test(tablePrefix)) {
    problems.push(`tablePrefix must match /^[a-z_][a-z0-9_]{0,30}$/: ${show(tablePrefix)}`)
  }
  if (schema !== undefined && (typeof schema !== 'string' || !/^[^\0"]{1,63}$/.test(schema))) {
    problems.push(`schema must be 1 to 63 characters without quotes: ${show(schema)}`)
  }
  if (schema !== undefined && databaseOf(dialect, db) === 'mysql') {
    problems.push(
      `schema is for Postgres; on MySQL and MariaDB use tablePrefix, or connect to a database of its own: ${show(schema)}`,
    )
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
  ...['db', 'adapters', 'schema', 'tablePrefix', 'dialect', 'label', 'capacity', 'logger', 'codec'],
  ...['heartbeatInterval', 'orphanThreshold', 'safetyMargin', 'sweepInterval', 'gcLockTtl', 'testing'],
  ...['maxRecoveries', 'crashWindow', 'batchSize', 'maxPayloadBytes', 'historyRetention', 'onCrash'],
  ...['recoveryBackoff', 'recoveryRate', 'isolateSuspects', 'onRegisterFailure', 'reserveConnection'],
  ...['heartbeatThread', 'heartbeatConnection', 'maxLoopBlock'],
])

function checkNumbers(config: MonitorConfig, problems: string[]): void {
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
  if (config.capacity !== undefined && config.capacity > MAX_INTEGER)
    problems.push(`capacity must be at most ${MAX_INTEGER}: ${show(config.capacity)}`)
  if (config.batchSize > 5_000) problems.push(`batchSize must be at most 5000: ${show(config.batchSize)}`)
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
    if (!isStorableId(name)) {
      problems.push(`adapters[${index}].name must be ${STORABLE_ID}: ${show(name)}`)
    } else if (names.has(name)) {
      problems.push(`two adapters are named ${show(name)}: give one of them another name`)
    } else {
      names.add(name)
    }
  }
}

export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'object' && value !== null)
    return Array.isArray(value) ? `an array of ${value.length}` : 'an object'
  return String(value)
}
