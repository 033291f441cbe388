import { inspect } from 'node:util'
import { ConfigError, queueName } from '@holdfast/core'
import type { PgBossAdapterOptions } from './adapter.js'
import type { HandOffOptions, TrackOptions } from './options.js'
import { folded } from './tables.js'

const show = (value: unknown): string => inspect(value, { depth: 0, breakLength: Number.POSITIVE_INFINITY })

const KNOWN = ['boss', 'db', 'name', 'schema', 'onExhausted']
const OF_ROWS = ['onCrash', 'maxRuntime', 'onOverdue']

/** What this adapter needs of a pg-boss. */
const NEEDED = ['getDb', 'complete', 'fail', 'offWork']

/** pg-boss's own default, whose jobs need no schema in the name of their queue. */
const USUAL = 'pgboss'

/** Longest name of a queue, in characters. */
const MAX_NAME = 191

/**
 * The options, of which `name` has become the queue's: with the schema, so that two schemas have nothing in common.
 *
 * @throws ConfigError naming every wrong option
 */
export function checkOptions(options: PgBossAdapterOptions): Required<PgBossAdapterOptions> {
  const { boss, db, name = 'pg-boss', schema = USUAL, onExhausted = 'fail' } = options ?? {}
  const problems: string[] = []
  const missing = NEEDED.filter((member) => typeof (boss as never)?.[member] !== 'function')
  if (missing.length > 0) {
    problems.push(`boss must be a PgBoss, 10.4.2 or 12: ${show(boss)} has no ${missing.join(', ')}`)
  }
  if (typeof db?.transaction !== 'function') {
    problems.push(`db must be the Kysely that the monitor has, on pg-boss's database: ${show(db)}`)
  }
  for (const [option, value] of Object.entries({ name, schema })) {
    if (typeof value !== 'string' || value === '') {
      problems.push(`${option} must be a non-empty string: ${show(value)}`)
    }
  }
  const queue = queueName({ name, schema: folded(String(schema)), usual: USUAL })
  if (String(name).includes('@')) {
    problems.push(`name must have no @, behind which the schema is put: ${show(name)}`)
  } else if (queue.length > MAX_NAME) {
    problems.push(
      `name and schema must not be longer than ${MAX_NAME} characters together, with the @ between them: ${show(queue)}`,
    )
  }
  if (onExhausted !== 'fail' && onExhausted !== 'refundOnce') {
    problems.push(`onExhausted must be 'fail' or 'refundOnce': ${show(onExhausted)}`)
  }
  problems.push(...unknownOf(options, KNOWN))
  refuse('pgBossAdapter', problems)
  return { boss, db, name: queue, schema, onExhausted }
}

/** @throws ConfigError */
export function checkTrackOptions(options: TrackOptions): void {
  const problems = unknownOf(options, [...OF_ROWS, 'perJobResults'])
  const { perJobResults } = options
  if (perJobResults !== undefined && typeof perJobResults !== 'boolean') {
    problems.push(`perJobResults must be true or false: ${show(perJobResults)}`)
  }
  refuse('adapter.track()', [...problems, ...rowProblems(options)])
}

/** @throws ConfigError */
export function checkHandOffOptions(options: HandOffOptions): void {
  const { concurrency } = options ?? {}
  const problems = unknownOf(options, [...OF_ROWS, 'concurrency'])
  if (!Number.isSafeInteger(concurrency) || concurrency < 1) {
    problems.push(`concurrency must be a whole number of at least 1: ${show(concurrency)}`)
  }
  refuse('adapter.handOff()', [...problems, ...rowProblems(options ?? {})])
}

/** Asked now, since a job that can't be registered would fail for it. */
function rowProblems({ onCrash, maxRuntime, onOverdue }: Partial<HandOffOptions>): string[] {
  const problems: string[] = []
  if (onCrash !== undefined && onCrash !== 'requeue' && onCrash !== 'quarantine') {
    problems.push(`onCrash must be 'requeue' or 'quarantine': ${show(onCrash)}`)
  }
  if (maxRuntime !== undefined && !(maxRuntime > 0 && maxRuntime <= MAX_RUNTIME)) {
    problems.push(`maxRuntime must be milliseconds, at most ${MAX_RUNTIME}: ${show(maxRuntime)}`)
  }
  if (onOverdue !== undefined && !['report', 'abort', 'recover'].includes(onOverdue)) {
    problems.push(`onOverdue must be 'report', 'abort' or 'recover': ${show(onOverdue)}`)
  }
  return problems
}

/** Milliseconds that a timer can wait. */
export const MAX_RUNTIME = 2 ** 31 - 1

const unknownOf = (options: object, known: readonly string[]): string[] =>
  Object.keys(options ?? {})
    .filter((option) => !known.includes(option))
    .map((option) => `${option} is no option`)

function refuse(of: string, problems: readonly string[]): void {
  if (problems.length > 0) throw new ConfigError(`Wrong options for ${of}: ${problems.join('; ')}.`)
}
