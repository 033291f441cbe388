import { createRequire } from 'node:module'

/** The databases that every test of the monitor runs on, by the name of their service, with the variable of its URL. */
const URLS = {
  postgres: 'HOLDFAST_POSTGRES_URL',
  'postgres@14': 'HOLDFAST_POSTGRES_14_URL',
  pgbouncer: 'HOLDFAST_PGBOUNCER_URL',
  mariadb: 'HOLDFAST_MARIADB_URL',
  mysql: 'HOLDFAST_MYSQL_URL',
} as const

export type LegDatabase = keyof typeof URLS

/** The database that this run of the tests is on: `HOLDFAST_TEST_DB`. */
export function legDatabase(name: string = process.env.HOLDFAST_TEST_DB ?? 'postgres'): LegDatabase {
  if (name in URLS) return name as LegDatabase
  throw new Error(`HOLDFAST_TEST_DB must be one of ${Object.keys(URLS).join(', ')}: ${name}`)
}

/** Whether the run is on Postgres, be it behind PgBouncer; else it is on MySQL or MariaDB. */
export const onPostgres = (): boolean => URLS[legDatabase()].startsWith('HOLDFAST_P')

/** What has to be started for a leg. Through PgBouncer tests still make their databases on the server itself. */
export const servicesOf = (database: LegDatabase): readonly string[] =>
  database === 'pgbouncer' ? ['postgres', 'pgbouncer'] : [database]

export const legUrl = (): string => requiredUrl(URLS[legDatabase()])

/** Where databases are created and dropped. */
export const adminUrl = (): string =>
  requiredUrl(URLS[legDatabase() === 'pgbouncer' ? 'postgres' : legDatabase()])

export function requiredUrl(variable: string): string {
  const url = process.env[variable]
  if (url === undefined)
    throw new Error(`${variable} is not set: run the tests through \`npm test\` or vitest's global set-up`)
  return url
}

/** The version of Kysely that this process has really loaded. */
export async function kyselyVersion(): Promise<string> {
  const main = import.meta.resolve('kysely')
  const root = main.slice(0, main.lastIndexOf('/dist/'))
  return createRequire(import.meta.url)(`${new URL(root).pathname}/package.json`).version
}
