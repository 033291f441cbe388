// A process that migrates with Kysely's own Migrator, of whichever version it runs on: its own migrations and ours.
import { childOptions, connect, kyselyVersion } from '@holdfast/chaos'
import type { Kysely, MigrationProvider, MigrationResultSet } from 'kysely'
import * as kysely from 'kysely'
import { migrate, migrationProvider, type StoreOptions, TaskMonitor } from '../../src/index.js'
import { fast } from './fast.js'
import { tableQueueAdapter } from './table-queue.js'

export interface MigratorOptions {
  readonly url: string
  /** @default 1 */
  readonly connections?: number
  readonly place?: StoreOptions
  /** Calls `migrate()` rather than a Migrator. */
  readonly simply?: boolean
  /** Registers a task afterwards. @default true */
  readonly start?: boolean
  readonly disableTransactions?: boolean
}

export interface MigratorReport {
  readonly type: 'migrated'
  readonly kysely: string
  /** The names of the migrations that this process ran. */
  readonly ran: readonly string[]
  readonly error?: string
}

const {
  url,
  connections = 1,
  place = {},
  simply,
  start = true,
  disableTransactions,
}: MigratorOptions = childOptions()
const db = connect(url, connections)

const provider: MigrationProvider = {
  async getMigrations() {
    const holdfast = await migrationProvider(place).getMigrations()
    return {
      '2026-01-01_users': { up: (db: Kysely<unknown>) => createTable(db, 'users') },
      '2026-02-01_holdfast': holdfast.holdfast_0001_init,
      '2026-03-01_orders': { up: (db: Kysely<unknown>) => createTable(db, 'orders') },
    }
  },
}

const createTable = (db: Kysely<unknown>, name: string): Promise<void> =>
  db.schema.createTable(name).addColumn('id', 'integer').execute()

/** Up to 0.28 in the main entry, from 0.29 on in `kysely/migration`. */
async function migratorOf(): Promise<typeof kysely.Migrator> {
  if (kysely.Migrator !== undefined) return kysely.Migrator
  return (await import(new URL('./migration/index.js', import.meta.resolve('kysely')).href)).Migrator
}

async function withMigrator(): Promise<Pick<MigratorReport, 'ran' | 'error'>> {
  const Migrator = await migratorOf()
  const migrator = new Migrator({
    db,
    provider,
    ...(disableTransactions === undefined ? {} : { disableTransactions }),
  })
  const { results = [], error }: MigrationResultSet = await migrator.migrateToLatest()
  return {
    ran: results.map(({ migrationName, status }) => `${migrationName} ${status}`),
    ...(error === undefined ? {} : { error: error instanceof Error ? `${error.stack}` : String(error) }),
  }
}

async function useIt(): Promise<void> {
  const monitor = new TaskMonitor({ db, adapters: [tableQueueAdapter()], ...fast, ...place })
  await monitor.start()
  await monitor.run({ payload: null }, async () => undefined)
  await monitor.stop({ drain: 0 })
}

process.once('message', async () => {
  const report = simply
    ? { ran: await migrate(db, place) }
    : await withMigrator().catch((error) => ({ ran: [], error: String(error.stack) }))
  if (start && report.error === undefined) await useIt()
  process.send?.({ type: 'migrated', kysely: await kyselyVersion(), ...report } satisfies MigratorReport)
  await db.destroy()
  process.disconnect()
})
process.send?.('ready')
