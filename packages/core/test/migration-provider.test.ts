import { adminUrl, Child, freshDatabase, type TestDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { migrate, migrationProvider, TaskMonitor } from '../src/index.js'
import { fast } from './support/fast.js'
import type { MigratorOptions, MigratorReport } from './support/migrator.js'
import { tableQueueAdapter } from './support/table-queue.js'

const script = new URL('./support/migrator.ts', import.meta.url)

/** The versions that are installed; '' is the workspace's. */
const VERSIONS = ['', '0.28.8', '0.29.9'] as const

const ALL = ['2026-01-01_users Success', '2026-02-01_holdfast Success', '2026-03-01_orders Success']

describe("Holdfast's steps among the migrations of a Kysely Migrator", () => {
  let database: TestDatabase
  beforeEach(async () => {
    // Not through PgBouncer: newer Migrators hold a lock that belongs to the session.
    database = await freshDatabase(adminUrl())
  })
  afterEach(() => database[Symbol.asyncDispose]())

  /** Lets processes migrate at the same moment, each with its version of Kysely. */
  async function race(
    entrants: readonly (readonly [kysely: string, options?: Partial<MigratorOptions>])[],
  ): Promise<MigratorReport[]> {
    const children = entrants.map(
      ([kysely, options]) =>
        new Child(script, {
          options: { url: database.url, ...options },
          env: { HOLDFAST_TEST_KYSELY: kysely },
        }),
    )
    try {
      for (const child of children) await child.message('ready')
      for (const child of children) child.send('go')
      return await Promise.all(children.map((child) => child.message<MigratorReport>('migrated')))
    } finally {
      for (const child of children) await child[Symbol.asyncDispose]()
    }
  }

  const recorded = async () =>
    (await sql<{ id: string }>`select id from holdfast_migrations`.execute(database.db)).rows

  for (const version of VERSIONS) {
    it(`are applied once by three racing processes on Kysely ${version || '0.28.19'}`, async () => {
      const reports = await race([[version], [version], [version]])
      for (const report of reports) {
        expect(report.error).toBeUndefined()
        expect(report.kysely).toBe(version || '0.28.19')
      }
      expect(reports.flatMap(({ ran }) => ran)).toEqual(ALL)
      expect(await recorded()).toEqual([{ id: '0001_init' }])
      expect(await migrate(database.db)).toEqual([])
    })
  }

  it('race with migrate() in other processes: both ways end well, and it is done once', async () => {
    for (let round = 1; round <= 3; round++) {
      const reports = await race([[''], ['', { simply: true }], ['0.29.9'], ['0.29.9', { simply: true }]])
      for (const report of reports) expect(report.error).toBeUndefined()
      const migrators = reports.filter((_, index) => index % 2 === 0)
      expect(migrators.flatMap(({ ran }) => ran)).toEqual(ALL)
      expect(await recorded()).toEqual([{ id: '0001_init' }])
      await database[Symbol.asyncDispose]()
      database = await freshDatabase(adminUrl())
    }
  })

  it('have nothing to do after migrate()', async () => {
    await migrate(database.db)
    const before = (await sql`select id, applied_at from holdfast_migrations`.execute(database.db)).rows
    const [report] = await race([['']])
    expect(report!.error).toBeUndefined()
    expect(report!.ran).toEqual(ALL)
    expect((await sql`select id, applied_at from holdfast_migrations`.execute(database.db)).rows).toEqual(
      before,
    )
  })

  it('work where the Migrator uses no transactions, with the tables elsewhere too', async () => {
    const place = { tablePrefix: 'other_' }
    const reports = await race([
      ['0.29.9', { disableTransactions: true, place }],
      ['0.29.9', { simply: true, place }],
    ])
    for (const report of reports) expect(report.error).toBeUndefined()
    expect((await sql`select id from other_migrations`.execute(database.db)).rows).toHaveLength(1)
  })

  it('satisfy start() when applied by hand, also through PgBouncer', async () => {
    await using pooled = await freshDatabase()
    const { db } = pooled
    const migrations = await migrationProvider().getMigrations()
    for (const { up } of Object.values(migrations)) await up(db)
    for (const { up } of Object.values(migrations)) await up(db)
    const monitor = new TaskMonitor({ db, adapters: [tableQueueAdapter()], ...fast })
    await monitor.start()
    await monitor.stop({ drain: 0 })
    expect((await sql`select id from holdfast_migrations`.execute(db)).rows).toEqual([{ id: '0001_init' }])
  })

  it('refuse wrong options before anything is migrated', () => {
    expect(() => migrationProvider({ tablePrefix: 'No' })).toThrow(
      expect.objectContaining({ code: 'HOLDFAST_CONFIG' }),
    )
  })
})
