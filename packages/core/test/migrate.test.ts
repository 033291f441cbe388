import {
  type AnyDatabase,
  adminUrl,
  connect,
  freshDatabase,
  onPostgres,
  type TestDatabase,
  until,
} from '@holdfast/chaos'
import { CamelCasePlugin, sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { migrate, migrationProvider, migrationSql, TaskMonitor } from '../src/index.js'
import { fast } from './support/fast.js'
import { limitedUser } from './support/limited-user.js'
import { dialect } from './support/sql.js'
import { createTableQueue, enqueuedRefs, tableQueueAdapter } from './support/table-queue.js'

describe('migrate', () => {
  let database: TestDatabase
  beforeEach(async () => {
    database = await freshDatabase()
  })
  afterEach(() => database[Symbol.asyncDispose]())

  const monitor = (options = {}) =>
    new TaskMonitor({ db: database.db, adapters: [tableQueueAdapter()], ...fast, ...options })

  const recorded = async (db = database.db) =>
    (await sql`select id, breaking from holdfast_migrations`.execute(db)).rows

  it('run by ten processes at once on an empty database, is applied by one', async () => {
    const pools = Array.from({ length: 10 }, () => connect(database.url, 1))
    const applied = await Promise.all(pools.map((db) => migrate(db)))
    expect(applied.flat()).toEqual(['0001_init'])
    await Promise.all(pools.map((db) => db.destroy()))
    expect(await recorded()).toEqual([{ id: '0001_init', breaking: 0 }])
  })

  it('before every start, five at once, twenty times: each step is recorded once and no start fails', async () => {
    for (let round = 1; round <= 20; round++) {
      const place = { tablePrefix: `round${round}_` }
      const pools = Array.from({ length: 5 }, () => connect(database.url, 1))
      const starts = pools.map(async (db) => {
        const applied = await migrate(db, place)
        const started = monitor({ db, ...place })
        await started.start()
        await started.stop({ drain: 0 })
        return applied
      })
      expect((await Promise.all(starts)).flat()).toEqual(['0001_init'])
      await Promise.all(pools.map((db) => db.destroy()))
      const { rows } = await sql`select id from ${sql.id(`round${round}_migrations`)}`.execute(database.db)
      expect(rows).toEqual([{ id: '0001_init' }])
    }
  })

  it.runIf(onPostgres())('is applied by one where transactions are serializable by default', async () => {
    await setForAll(database, 'default_transaction_isolation', 'serializable')
    const pools = Array.from({ length: 10 }, () => connect(database.url, 1))
    const isolation = sql`show transaction_isolation`
    expect((await isolation.execute(pools[0]!)).rows).toEqual([{ transaction_isolation: 'serializable' }])
    await dialect.withMigrationLock(pools[0]!, 'holdfast', async (locked) => {
      expect((await isolation.execute(locked)).rows).toEqual([{ transaction_isolation: 'read committed' }])
    })
    const applied = await Promise.all(pools.map((db) => migrate(db)))
    expect(applied.flat()).toEqual(['0001_init'])
    await Promise.all(pools.map((db) => db.destroy()))
  })

  it.runIf(onPostgres())('is part of a transaction of the caller', async () => {
    const undone = database.db.transaction().execute(async (trx) => {
      expect(await migrate(trx)).toEqual(['0001_init'])
      throw new Error('undo it')
    })
    await expect(undone).rejects.toThrow('undo it')
    await database.db.transaction().execute(async (trx) => {
      expect(await migrate(trx)).toEqual(['0001_init'])
      expect(await migrate(trx)).toEqual([])
    })
    const started = monitor()
    await started.start()
    await started.stop({ drain: 0 })
  })

  it.runIf(!onPostgres())('refuses a transaction, which MySQL would commit', async () => {
    await sql`create table mine (id int)`.execute(database.db)
    const refused = database.db.transaction().execute(async (trx) => {
      await sql`insert into mine values (1)`.execute(trx)
      await migrate(trx)
    })
    await expect(refused).rejects.toMatchObject({ code: 'HOLDFAST_CONFIG' })
    expect((await sql`select * from mine`.execute(database.db)).rows).toEqual([])
  })

  it.runIf(!onPostgres())('refuses a schema, which MySQL has not, wherever one can be given', async () => {
    const place = { schema: 'hold' }
    const refusal = { code: 'HOLDFAST_CONFIG', message: expect.stringContaining('use tablePrefix') }
    await expect(migrate(database.db, place)).rejects.toMatchObject(refusal)
    expect(() => monitor(place)).toThrow(expect.objectContaining(refusal))
    expect(() => migrationSql({ dialect: 'mysql', ...place })).toThrow(expect.objectContaining(refusal))
    const { holdfast_0001_init: init } = await migrationProvider(place).getMigrations()
    await expect(init.up(database.db)).rejects.toMatchObject(refusal)
  })

  it('keeps instances in one database apart: prefixes, and schemas even with an empty search_path', async () => {
    await createTableQueue(database.db)
    const schemas = onPostgres() ? [{ schema: 'hold' }, { schema: 'hold', tablePrefix: 'x_' }] : []
    // Each with the tables of the first one as a prefix: names would meet if they could.
    const places = [{}, { tablePrefix: 'other_' }, { tablePrefix: 'holdfast_tasks_' }, ...schemas]
    for (const place of places) expect(await migrate(database.db, place)).toEqual(['0001_init'])
    const monitors = places.map((place) => monitor(place))
    for (const each of monitors) {
      await each.start()
      await each.register({ payload: null, jobRef: 'same' })
      expect((await each.stats()).tasks).toEqual([{ queue: 'table', tasks: 1 }])
      expect((await each.stats()).processes).toHaveLength(1)
    }
    const [first, ...others] = monitors
    await first!.stop({ drain: 0 })
    expect(await enqueuedRefs(database.db)).toEqual(['same'])
    for (const each of others) expect((await each.stats()).tasks).toEqual([{ queue: 'table', tasks: 1 }])
    for (const each of others) {
      await sql`delete from jobs`.execute(database.db)
      await each.stop({ drain: 0 })
    }
  })

  it.runIf(onPostgres())('keeps schemas apart with an empty search_path', async () => {
    await setForAll(database, 'search_path', '')
    const places = [{ schema: 'public' }, { schema: 'we(ird, one' }]
    for (const place of places) {
      expect(await migrate(database.db, place)).toEqual(['0001_init'])
      expect(await migrate(database.db, place)).toEqual([])
    }
    const monitors = places.map((place) => monitor(place))
    for (const each of monitors) await each.start()
    const [first, second] = monitors
    const task = await first!.register({ payload: null, jobRef: 'a' })
    await second!.run({ payload: null, jobRef: 'a' }, async () => undefined)
    expect((await second!.stats()).tasks).toEqual([])
    expect((await second!.stats()).processes).toHaveLength(1)
    await task.complete()
    for (const each of monitors) await each.stop({ drain: 0 })
    await expect(migrate(database.db)).rejects.toMatchObject({ code: 'HOLDFAST_DATABASE' })
  })

  it('is left alone by plugins of the caller', async () => {
    expect(await migrate(database.db.withPlugin(new CamelCasePlugin()))).toEqual(['0001_init'])
    expect(await recorded()).toHaveLength(1)
  })

  it('that finds nothing to do waits for nobody and needs no right to create tables', async () => {
    await migrate(database.db)
    await using user = await limitedUser(database)
    await user.grant('select on holdfast_migrations')
    await dialect.withMigrationLock(database.db, 'holdfast', async () => {
      expect(await migrate(user.db)).toEqual([])
    })
  })

  it.runIf(onPostgres())('makes do with the right to create tables in a schema that is there', async () => {
    await sql`create schema hold`.execute(database.db)
    await using user = await limitedUser(database)
    await user.grant('usage, create on schema hold')
    expect(await migrate(user.db, { schema: 'hold' })).toEqual(['0001_init'])
  })

  it('makes no column that changes itself, and on MySQL no table without transactions', async () => {
    await migrate(database.db)
    const { rows: types } = await sql<{ type: string }>`
      select distinct data_type as type from information_schema.columns
      where table_name like 'holdfast%' and table_schema = ${sql.raw(onPostgres() ? 'current_schema()' : 'database()')}
      order by 1`.execute(database.db)
    expect(types.map(({ type }) => type)).toEqual(
      onPostgres()
        ? ['bigint', 'integer', 'text', 'timestamp with time zone']
        : ['bigint', 'datetime', 'int', 'longtext', 'varchar'],
    )
    if (onPostgres()) return
    const { rows: extras } = await sql`
      select column_name from information_schema.columns
      where table_schema = database() and (extra <> '' or (data_type = 'datetime' and column_default <> 'NULL'))`.execute(
      database.db,
    )
    expect(extras).toEqual([])
    const { rows: engines } = await sql`
      select distinct engine as engine from information_schema.tables where table_schema = database()`.execute(
      database.db,
    )
    expect(engines).toEqual([{ engine: 'InnoDB' }])
  })

  it.runIf(!onPostgres())('makes InnoDB tables whatever the default engine is', async () => {
    const db = connect(database.url, 1)
    await sql`set session default_storage_engine = MyISAM`.execute(db)
    await migrate(db)
    await db.destroy()
    const { rows } = await sql`
      select table_name from information_schema.tables where table_schema = database() and engine <> 'InnoDB'`.execute(
      database.db,
    )
    expect(rows).toEqual([])
  })

  it('on a database that takes no writes: migrate and start say so', async () => {
    const refused = { code: 'HOLDFAST_READ_ONLY_DATABASE' }
    const empty = await readOnly(database)
    await expect(migrate(empty)).rejects.toMatchObject(refused)
    await empty.destroy()
    await using migrated = await freshDatabase()
    await migrate(migrated.db)
    const db = await readOnly(migrated)
    expect(await migrate(db)).toEqual([])
    await expect(monitor({ db }).start()).rejects.toMatchObject(refused)
    await db.destroy()
  })
})

/** A pool of one connection that may not write. */
async function readOnly(database: TestDatabase): Promise<AnyDatabase> {
  if (onPostgres()) await setForAll(database, 'default_transaction_read_only', 'on')
  const db = connect(database.url, 1)
  if (!onPostgres()) await sql`set session transaction read only`.execute(db)
  return db
}

/** Gives every new session on a Postgres database a setting: PgBouncer ignores what a URL or a client asks for. */
async function setForAll({ url }: TestDatabase, name: string, value: string): Promise<void> {
  const database = new URL(url).pathname.slice(1)
  const admin = connect(adminUrl(), 1)
  await sql`alter database ${sql.id(database)} set ${sql.id(name)} = ${sql.lit(value)}`.execute(admin)
  // PgBouncer would go on using those it has.
  await sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${database}`.execute(admin)
  await admin.destroy()
  const db = connect(url, 1)
  const setting = sql<{ set: string }>`select reset_val as set from pg_settings where name = ${name}`
  const shown = value === '' ? '""' : value
  await until(
    async () => {
      const answer = await setting.execute(db).catch(() => undefined)
      return answer?.rows[0]?.set === shown
    },
    { what: `${name} is ${shown}` },
  )
  await db.destroy()
}
