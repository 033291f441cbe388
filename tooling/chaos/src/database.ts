import { randomBytes } from 'node:crypto'
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'

// biome-ignore lint/suspicious/noExplicitAny: tests read any table
export type AnyDatabase = Kysely<any>

/** A Kysely on a pool of its own that outlives server restarts. */
export function connect(connectionString: string, max = 10): AnyDatabase {
  const pool = new pg.Pool({ connectionString, max })
  // Without listeners pg ends the process when the server goes away: the pool's covers idle connections, the
  // client's those in use. The queries themselves fail either way.
  const note = (error: Error): void => {
    if (process.env.HOLDFAST_DEBUG) console.error('connection lost:', error.message)
  }
  pool.on('error', note)
  pool.on('connect', (client) => client.on('error', note))
  return new Kysely({ dialect: new PostgresDialect({ pool }) })
}

export interface TestDatabase extends AsyncDisposable {
  readonly url: string
  readonly db: AnyDatabase
}

/** An empty database of its own on the given server; dropped when disposed of. */
export async function freshDatabase(serverUrl = requiredUrl('HOLDFAST_POSTGRES_URL')): Promise<TestDatabase> {
  const name = `t_${randomBytes(6).toString('hex')}`
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  const admin = connect(serverUrl, 1)
  await sql`create database ${sql.id(name)}`.execute(admin)
  const db = connect(url.href)
  return {
    url: url.href,
    db,
    async [Symbol.asyncDispose]() {
      await db.destroy()
      await sql`drop database if exists ${sql.id(name)} with (force)`.execute(admin)
      await admin.destroy()
    },
  }
}

export function requiredUrl(variable: string): string {
  const url = process.env[variable]
  if (url === undefined)
    throw new Error(`${variable} is not set: run the tests through \`npm test\` or vitest's global set-up`)
  return url
}
