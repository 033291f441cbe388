import { inspect } from 'node:util'
import { ConfigError, queueName } from '@holdfast/core'
import type { GraphileWorkerAdapterOptions } from './adapter.js'
import { type ExhaustedPolicies, type TaskOptions, taskProblems } from './task-options.js'
import { MIN_UNKNOWN_AGE } from './upkeep.js'

const show = (value: unknown): string => inspect(value, { depth: 0, breakLength: Number.POSITIVE_INFINITY })

/** graphile-worker's own default. */
const USUAL_SCHEMA = 'graphile_worker'

/** Longest name of a queue: the monitor's tables take 191 characters, and a GC lock adds three. */
const MAX_NAME = 188

export interface CheckedOptions {
  /** Of the queue: with the schema, unless that is graphile-worker's own. */
  readonly name: string
  readonly schema: string
  /** How the jobs of a task are protected. */
  optionsOf(identifier: string): TaskOptions
  /** What becomes of jobs that died on their last attempt. */
  readonly exhausted: ExhaustedPolicies
  /** Names that have options of their own. */
  readonly named: ReadonlySet<string>
}

/** @throws ConfigError naming every wrong option */
export function checkOptions(options: GraphileWorkerAdapterOptions): CheckedOptions {
  const { name: given = 'graphile-worker', schema = USUAL_SCHEMA, db, tasks = {}, ...others } = options
  const { sweepUnknownLocks, ...forAll } = others
  const problems: string[] = []
  for (const [option, value] of Object.entries({ name: given, schema })) {
    if (typeof value !== 'string' || value === '')
      problems.push(`${option} must be a non-empty string: ${show(value)}`)
  }
  const name = queueName({ name: given, schema, usual: USUAL_SCHEMA })
  if (String(given).includes('@')) {
    problems.push(`name must be without "@", after which the schema is put: ${show(given)}`)
  }
  if (name.length > MAX_NAME) {
    problems.push(`name and schema must be at most ${MAX_NAME} characters together: ${show(name)}`)
  }
  if (db !== undefined && typeof (db as { transaction?: unknown } | null)?.transaction !== 'function') {
    problems.push(`db must be a Kysely on graphile-worker's database: ${show(db)}`)
  }
  const isAge = typeof sweepUnknownLocks === 'number' && sweepUnknownLocks >= MIN_UNKNOWN_AGE
  if (sweepUnknownLocks !== undefined && !isAge) {
    problems.push(`sweepUnknownLocks must be at least ${MIN_UNKNOWN_AGE} ms: ${show(sweepUnknownLocks)}`)
  }
  problems.push(...taskProblems(forAll, show))
  if (typeof tasks !== 'object' || tasks === null) {
    problems.push(`tasks must be an object, by task identifier: ${show(tasks)}`)
  } else {
    for (const [identifier, own] of Object.entries(tasks)) {
      for (const problem of taskProblems(own, show)) problems.push(`tasks[${show(identifier)}].${problem}`)
    }
  }
  if (problems.length > 0) {
    throw new ConfigError(`Wrong options for graphileWorkerAdapter: ${problems.join('; ')}.`)
  }
  const own = new Map(Object.entries(tasks))
  const { onExhausted = 'fail' } = forAll
  const policies = [...own].flatMap(([task, options]) =>
    options.onExhausted === undefined ? [] : [[task, options.onExhausted] as const],
  )
  return {
    ...{ name, schema },
    optionsOf: (identifier) => own.get(identifier) ?? forAll,
    exhausted: { all: onExhausted, tasks: Object.fromEntries(policies) },
    named: new Set(own.keys()),
  }
}

/** @throws ConfigError for wrong options of `adapter.track()` and `adapter.handOff()` */
export function checkTaskOptions(of: string, options: TaskOptions): void {
  const problems = taskProblems(options, show)
  if (problems.length > 0) throw new ConfigError(`Wrong options for ${of}: ${problems.join('; ')}.`)
}
