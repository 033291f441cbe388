import { MAX_TIMER } from './clock.js'
import type { MonitorConfig, TaskMonitorOptions } from './options.js'
import { databaseOf } from './store/dialect.js'

const PROTOCOLS: Readonly<Record<string, 'postgres' | 'mysql' | undefined>> = {
  'postgres:': 'postgres',
  'postgresql:': 'postgres',
  'mysql:': 'mysql',
  'mariadb:': 'mysql',
  'file:': undefined,
}

const WHAT_TO_GIVE =
  'the URL of the database (postgres:, postgresql:, mysql: or mariadb:), or the file: URL of a module whose default ' +
  'export is a function that makes a Kysely'

/** What is wrong with the options of the heartbeat thread. A URL is never quoted: it may hold a password. */
export function heartbeatThreadProblems(config: MonitorConfig, options: TaskMonitorOptions): string[] {
  const { heartbeatThread, maxLoopBlock, heartbeatInterval } = config
  const { heartbeatConnection } = options
  const problems: string[] = []
  if (typeof heartbeatThread !== 'boolean') {
    problems.push(`heartbeatThread must be true or false: ${String(heartbeatThread)}`)
  } else if (heartbeatThread && heartbeatConnection === undefined) {
    problems.push(`heartbeatThread needs heartbeatConnection too: ${WHAT_TO_GIVE}`)
  } else if (!heartbeatThread && heartbeatConnection !== undefined) {
    problems.push('heartbeatConnection is for the heartbeat thread: set heartbeatThread: true as well')
  }
  if (heartbeatConnection !== undefined) problems.push(...connectionProblems(heartbeatConnection, options))
  if (!(typeof maxLoopBlock === 'number' && maxLoopBlock > 0 && maxLoopBlock <= MAX_TIMER)) {
    // A default that follows from a wrong heartbeatInterval is not another mistake.
    if (options.maxLoopBlock != null)
      problems.push(
        `maxLoopBlock must be a positive number of milliseconds, at most ${MAX_TIMER}: ${String(maxLoopBlock)}`,
      )
  } else if (heartbeatThread === false && options.maxLoopBlock != null) {
    problems.push('maxLoopBlock is for the heartbeat thread: set heartbeatThread: true as well')
  } else if (heartbeatThread === true && maxLoopBlock < heartbeatInterval) {
    problems.push(
      `maxLoopBlock (${maxLoopBlock}) must be at least heartbeatInterval (${heartbeatInterval}): shorter blocks aren't seen`,
    )
  }
  return problems
}

function connectionProblems(connection: unknown, { db, dialect }: TaskMonitorOptions): string[] {
  const text = connection instanceof URL || typeof connection === 'string' ? String(connection) : ''
  if (!URL.canParse(text)) return [`heartbeatConnection must be ${WHAT_TO_GIVE}`]
  const { protocol } = new URL(text)
  if (!(protocol in PROTOCOLS)) {
    return [`heartbeatConnection must be ${WHAT_TO_GIVE}; it is a ${JSON.stringify(protocol)} URL`]
  }
  const database = databaseOf(dialect, db)
  const its = PROTOCOLS[protocol]
  if (its === undefined || database === undefined || its === database) return []
  return [
    `heartbeatConnection must be of the same database as db: it is a ${protocol} URL, db is ${database}`,
  ]
}
