import { connect, freshDatabase, type TestDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { migrate, TaskMonitor } from '../src/index.js'
import { fast } from './support/fast.js'
import { createTableQueue, tableQueueAdapter } from './support/table-queue.js'

describe('migrate', () => {
  let database: TestDatabase
  beforeEach(async () => {
    database = await freshDatabase()
  })
  afterEach(() => database[Symbol.asyncDispose]())

  const monitor = (options = {}) =>
    new TaskMonitor({ db: database.db, adapters: [tableQueueAdapter()], ...fast, ...options })

  it('run by ten processes at once on an empty database, is applied by one', async () => {
    const pools = Array.from({ length: 10 }, () => connect(database.url, 1))
    const applied = await Promise.all(pools.map((db) => migrate(db)))
    expect(applied.flat()).toEqual(['0001_init'])
    await Promise.all(pools.map((db) => db.destroy()))
    expect((await sql`select id, breaking from holdfast_migrations`.execute(database.db)).rows).toEqual([
      { id: '0001_init', breaking: 0 },
    ])
  })

  it('works inside a transaction of the caller', async () => {
    await database.db.transaction().execute((trx) => migrate(trx))
    await monitor().start()
  })

  it('was not run: start names the call that is missing', async () => {
    await expect(monitor().start()).rejects.toMatchObject({
      code: 'HOLDFAST_SCHEMA_VERSION',
      message: expect.stringContaining('await migrate(db)'),
    })
  })

  it('by a newer, breaking version makes this one refuse; a non-breaking one does not', async () => {
    await migrate(database.db)
    await sql`insert into holdfast_migrations values ('9998_later', now(), 0)`.execute(database.db)
    const tolerant = monitor()
    await tolerant.start()
    await tolerant.stop()
    await sql`insert into holdfast_migrations values ('9999_breaking', now(), 1)`.execute(database.db)
    const refused = { code: 'HOLDFAST_SCHEMA_VERSION', message: expect.stringContaining('9999_breaking') }
    await expect(monitor().start()).rejects.toMatchObject(refused)
    await expect(migrate(database.db)).rejects.toMatchObject(refused)
  })

  it('keeps two prefixes and two schemas in one database apart', async () => {
    const places = [{}, { tablePrefix: 'other_' }, { schema: 'hold' }, { schema: 'hold', tablePrefix: 'x_' }]
    await createTableQueue(database.db)
    for (const place of places) expect(await migrate(database.db, place)).toEqual(['0001_init'])
    const monitors = places.map((place) => monitor(place))
    for (const each of monitors) {
      await each.start()
      await each.register({ payload: null, jobRef: 'same' })
      expect((await each.stats()).tasks).toEqual([{ queue: 'table', tasks: 1 }])
      expect((await each.stats()).processes).toHaveLength(1)
    }
    for (const each of monitors) {
      await each.stop({ drain: 0 })
      await sql`delete from jobs`.execute(database.db)
    }
  })

  it('is not needed by those who run: a role without DDL rights can', async () => {
    await migrate(database.db)
    const role = `r_${new URL(database.url).pathname.slice(1)}`
    await sql`create role ${sql.id(role)} login password 'x'`.execute(database.db)
    await sql`grant select, insert, update, delete on all tables in schema public to ${sql.id(role)}`.execute(
      database.db,
    )
    const url = new URL(database.url)
    url.username = role
    url.password = 'x'
    const db = connect(url.href, 2)
    const limited = monitor({ db })
    await limited.start()
    await limited.run({ payload: null }, async () => undefined)
    await limited.stop()
    await db.destroy()
    await sql`drop owned by ${sql.id(role)}`.execute(database.db)
    await sql`drop role ${sql.id(role)}`.execute(database.db)
  })

  it('on a database that takes no writes: start says so', async () => {
    await migrate(database.db)
    const url = new URL(database.url)
    url.searchParams.set('options', '-c default_transaction_read_only=on')
    const db = connect(url.href, 2)
    await expect(monitor({ db }).start()).rejects.toMatchObject({ code: 'HOLDFAST_READ_ONLY_DATABASE' })
    await db.destroy()
  })
})
