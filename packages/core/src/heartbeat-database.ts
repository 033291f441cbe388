import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { Kysely, MysqlDialect, PostgresDialect } from 'kysely'
import { ConfigError } from './errors.js'

/** One for the heartbeat, the others to find out whether they work when it hangs. */
const CONNECTIONS = 3

/**
 * The database of the heartbeat thread.
 *
 * @param connection a database URL, or the `file:` URL of a module whose default export makes a Kysely
 * @param application the file from where the database's driver is looked for first
 */
export async function openHeartbeatDatabase(
  connection: string,
  application: string,
): Promise<Kysely<unknown>> {
  const { protocol } = new URL(connection)
  if (protocol === 'file:') return fromModule(connection)
  if (protocol === 'mysql:' || protocol === 'mariadb:') {
    const { createPool } = await driver('mysql2', application, () => import('mysql2'))
    const uri = connection.replace(/^mariadb:/, 'mysql:')
    return new Kysely({
      dialect: new MysqlDialect({ pool: createPool({ uri, connectionLimit: CONNECTIONS }) }),
    })
  }
  const { Pool } = await driver('pg', application, () => import('pg'))
  const pool = new Pool({ connectionString: connection, max: CONNECTIONS })
  // A connection that is lost shows in the heartbeat that fails; without listeners it would end the thread.
  const ignore = (): void => undefined
  pool.on('error', ignore)
  pool.on('connect', (client) => client.on('error', ignore))
  return new Kysely({ dialect: new PostgresDialect({ pool }) })
}

async function fromModule(url: string): Promise<Kysely<unknown>> {
  let make: unknown = await import(/* webpackIgnore: true */ url)
  // A CommonJS module has its exports as the default, and among them perhaps a default of its own.
  while (typeof make === 'object' && make !== null && 'default' in make) make = make.default
  const db: unknown = typeof make === 'function' ? await make() : undefined
  if (isKysely(db)) return db
  throw new ConfigError(
    `The default export of heartbeatConnection must be a function that makes a Kysely: ${url}`,
  )
}

const isKysely = (value: unknown): value is Kysely<unknown> =>
  typeof value === 'object' && value !== null && 'withoutPlugins' in value

/** The application's own driver; else the one beside this package, which package managers put there for a peer. */
async function driver<T extends object>(
  name: string,
  application: string,
  fallback: () => Promise<T>,
): Promise<T> {
  let file: string
  try {
    file = createRequire(application).resolve(name)
  } catch {
    return fallback()
  }
  const loaded: T & { default?: T } = await import(/* webpackIgnore: true */ pathToFileURL(file).href)
  return loaded.default ?? loaded
}
