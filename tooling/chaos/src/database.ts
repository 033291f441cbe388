import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { type CompiledQuery, type Dialect, Kysely, MysqlDialect, PostgresDialect, sql } from 'kysely'
import { adminUrl, legUrl } from './leg.js'
import { refuseForbidden } from './statement-rules.js'
import { STEPPED_CLOCK, steppedClock } from './stepped-clock.js'

/** Children need one of the drivers, and wait for what they load; their code may have been compiled into another file. */
const load = createRequire(process.env.HOLDFAST_CHAOS ?? import.meta.url)

// biome-ignore lint/suspicious/noExplicitAny: tests read any table
export type AnyDatabase = Kysely<any>

/**
 * A Kysely on a pool of its own that outlives server restarts. `onStatement` is told of every statement, those that
 * begin and end transactions included.
 */
export function connect(
  url: string,
  max = 10,
  onStatement?: (statement: CompiledQuery) => void,
): AnyDatabase {
  return new Kysely({
    dialect: poolDialect(url, max),
    log: ({ query }) => {
      if (isMysql(url)) refuseForbidden(query.sql)
      onStatement?.(query)
    },
  })
}

const isMysql = (url: string): boolean => url.startsWith('mysql:')

/** A Kysely dialect on a pool of its own, for those who put something in between. */
export const poolDialect = (url: string, max = 10): Dialect =>
  isMysql(url) ? mysqlDialect(url, max) : postgresDialect(url, max)

function postgresDialect(connectionString: string, max: number): Dialect {
  const { Pool }: typeof import('pg') = load('pg')
  const pool = new Pool({ connectionString, max })
  // Without listeners pg ends the process when the server goes away: the pool's covers idle connections, the
  // client's those in use. The queries themselves fail either way.
  const note = (error: Error): void => {
    if (process.env.HOLDFAST_DEBUG) console.error('connection lost:', error.message)
  }
  pool.on('error', note)
  pool.on('connect', (client) => client.on('error', note))
  return new PostgresDialect({ pool })
}

function mysqlDialect(url: string, connectionLimit: number): Dialect {
  const uri = new URL(url)
  const isStepped = uri.searchParams.has(STEPPED_CLOCK)
  uri.search = ''
  // Without FOUND_ROWS an update that changes nothing counts no row: the harder of the two ways to be right in.
  const { createPool }: typeof import('mysql2') = load('mysql2')
  const pool = createPool({ uri: uri.href, connectionLimit, flags: ['-FOUND_ROWS'] })
  const dialect = new MysqlDialect({ pool })
  return isStepped ? steppedClock(dialect) : dialect
}

export interface TestDatabase extends AsyncDisposable {
  readonly url: string
  readonly db: AnyDatabase
}

/**
 * An empty database of its own on the given server, the leg's by default; dropped when disposed of.
 *
 * @param adminServerUrl where databases are created, if that is elsewhere than where they are used
 */
export async function freshDatabase(serverUrl?: string, adminServerUrl?: string): Promise<TestDatabase> {
  const name = `t_${randomBytes(6).toString('hex')}`
  const url = new URL(serverUrl ?? legUrl())
  url.pathname = `/${name}`
  const admin = connect(adminServerUrl ?? serverUrl ?? adminUrl(), 1)
  await sql`create database ${sql.id(name)}`.execute(admin)
  const db = connect(url.href)
  const force = url.protocol === 'mysql:' ? sql`` : sql`with (force)`
  return {
    url: url.href,
    db,
    async [Symbol.asyncDispose]() {
      await db.destroy()
      await sql`drop database if exists ${sql.id(name)} ${force}`.execute(admin)
      await admin.destroy()
    },
  }
}
