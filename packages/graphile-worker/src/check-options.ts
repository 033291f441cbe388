import { inspect } from 'node:util'
import { ConfigError } from '@holdfast/core'
import type { GraphileWorkerAdapterOptions } from './adapter.js'
import { type TaskOptions, taskProblems } from './task-options.js'
import { MIN_UNKNOWN_AGE } from './upkeep.js'

const show = (value: unknown): string => inspect(value, { depth: 0, breakLength: Number.POSITIVE_INFINITY })

export interface CheckedOptions {
  readonly name: string
  readonly schema: string
  /** How the jobs of a task are protected. */
  optionsOf(identifier: string): TaskOptions
  /** Names that have options of their own. */
  readonly named: ReadonlySet<string>
}

/** @throws ConfigError naming every wrong option */
export function checkOptions(options: GraphileWorkerAdapterOptions): CheckedOptions {
  const { name = 'graphile-worker', schema = 'graphile_worker', db, tasks = {}, ...others } = options
  const { sweepUnknownLocks, ...forAll } = others
  const problems: string[] = []
  for (const [option, value] of Object.entries({ name, schema })) {
    if (typeof value !== 'string' || value === '')
      problems.push(`${option} must be a non-empty string: ${show(value)}`)
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
  const { onExhausted } = forAll
  return {
    name,
    schema,
    optionsOf: (identifier) => {
      const ofTask = own.get(identifier)
      return ofTask === undefined
        ? forAll
        : { ...(onExhausted === undefined ? {} : { onExhausted }), ...ofTask }
    },
    named: new Set(own.keys()),
  }
}

/** @throws ConfigError for wrong options of `adapter.track()` and `adapter.handOff()` */
export function checkTaskOptions(of: string, options: TaskOptions): void {
  const problems = taskProblems(options, show)
  if (problems.length > 0) throw new ConfigError(`Wrong options for ${of}: ${problems.join('; ')}.`)
}
