import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type AnyDatabase, freshDatabase, onPostgres, type TestDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type DialectName, migrate, migrationSql, TaskMonitor } from '../src/index.js'
import { migrations } from '../src/migrations/steps.js'
import { fast } from './support/fast.js'
import { tableQueueAdapter } from './support/table-queue.js'

const published = (dialect: DialectName, id: string): string =>
  fileURLToPath(new URL(`../sql/${dialect}/${id}.sql`, import.meta.url))

const here: DialectName = onPostgres() ? 'postgres' : 'mysql'

describe('the SQL of the migrations', () => {
  let database: TestDatabase
  beforeEach(async () => {
    database = await freshDatabase()
  })
  afterEach(() => database[Symbol.asyncDispose]())

  const run = async (text: string): Promise<void> => {
    const statements = text.split(/;$/m).filter((statement) => statement.trim() !== '')
    for (const statement of statements) await sql.raw(statement).execute(database.db)
  }

  for (const dialect of ['postgres', 'mysql'] as const) {
    it(`is published for ${dialect} as it is generated, a file a step (vitest -u writes them)`, async () => {
      for (const [index, { id }] of migrations.entries()) {
        const file = published(dialect, id)
        expect(existsSync(file), `${file} exists`).toBe(true)
        const from = migrations[index - 1]?.id
        await expect(
          migrationSql({ dialect, to: id, ...(from === undefined ? {} : { from }) }),
        ).toMatchFileSnapshot(file)
      }
    })
  }

  it('run twice gives tables on which a monitor starts, and migrate() has nothing to do', async () => {
    for (const { id } of migrations) {
      const text = readFileSync(published(here, id), 'utf8')
      await run(text)
      await run(text)
    }
    expect(await migrate(database.db)).toEqual([])
    {
      await using monitor = new TaskMonitor({ db: database.db, adapters: [tableQueueAdapter()], ...fast })
      await monitor.start()
      await monitor.run({ payload: { a: 1 }, jobRef: 'a' }, async () => undefined)
    }
    const { rows } = await sql`select id, breaking from holdfast_migrations`.execute(database.db)
    expect(rows).toEqual(migrations.map(({ id }) => ({ id, breaking: 0 })))
  })

  it('makes the very tables that migrate() makes, wherever they are to be', async () => {
    const place = onPostgres() ? { schema: 'hold', tablePrefix: 'x_' } : { tablePrefix: 'x_' }
    await run(migrationSql({ dialect: here, ...place }))
    await using other = await freshDatabase()
    await migrate(other.db, place)
    const schema = await describeTables(database.db)
    expect(schema.length).toBeGreaterThan(60)
    expect(schema).toEqual(await describeTables(other.db))
    expect(await migrate(database.db, place)).toEqual([])
  })

  it('from a step on leaves out what is there, and names the steps there are', () => {
    const newest = migrations.at(-1)!.id
    expect(migrationSql({ dialect: here, from: newest })).toBe('')
    const wrong = { code: 'HOLDFAST_CONFIG', message: expect.stringContaining('"0001_init"') }
    for (const options of [{ from: '9999_none' }, { to: '9999_none' }]) {
      expect(() => migrationSql({ dialect: here, ...(options as object) })).toThrow(
        expect.objectContaining(wrong),
      )
    }
    expect(() => migrationSql({ dialect: 'sqlite' as DialectName })).toThrow(
      expect.objectContaining({ code: 'HOLDFAST_CONFIG' }),
    )
  })
})

/** Columns, keys and indexes of all our tables, as the database tells them. */
async function describeTables(db: AnyDatabase): Promise<unknown[]> {
  const place = onPostgres() ? sql`= 'hold'` : sql`= database()`
  const details = onPostgres()
    ? sql`udt_name, collation_name, datetime_precision`
    : sql`column_type, collation_name, extra`
  const columns = await sql`
    select table_name, ordinal_position, column_name, is_nullable, column_default, ${details}
    from information_schema.columns where table_schema ${place} order by 1, 2`.execute(db)
  const indexes = onPostgres()
    ? sql`select indexdef from pg_indexes where schemaname ${place} order by 1`
    : sql`select table_name, index_name, seq_in_index, column_name, non_unique
        from information_schema.statistics where table_schema ${place} order by 1, 2, 3`
  const tables = onPostgres()
    ? sql`select conname, contype from pg_constraint where connamespace = 'hold'::regnamespace
        and contype <> 'n' order by 1`
    : sql`select table_name, engine, table_collation from information_schema.tables
        where table_schema ${place} order by 1`
  return [...columns.rows, ...(await indexes.execute(db)).rows, ...(await tables.execute(db)).rows]
}
