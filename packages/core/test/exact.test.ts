import { type AnyDatabase, onPostgres, poolDialect, until } from '@holdfast/chaos'
import { CompiledQuery, type DatabaseConnection, Kysely, sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { TaskMonitor } from '../src/index.js'
import { fast } from './support/fast.js'
import { Fixture } from './support/fixture.js'
import { rowsGone, tableQueueAdapter, taskRows } from './support/table-queue.js'

const HALF = '\ud83d'
/** What drivers escape, and what needs two, three and four bytes. */
const HARD = `it's "so" \\ \\' % _ \u0001\n\r\t é 漢 😀 ${'\u00a0'}`

describe('what a task is, and what it carries', () => {
  let fixture: Fixture
  const opened: AnyDatabase[] = []
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(async () => {
    for (const db of opened.splice(0)) await db.destroy()
    await fixture[Symbol.asyncDispose]()
  })

  /** Connections that begin with a setting of their own. */
  function withSetting(setting: string): AnyDatabase {
    const base = poolDialect(fixture.database.url)
    const set = new WeakSet<DatabaseConnection>()
    const db: AnyDatabase = new Kysely({
      dialect: {
        createAdapter: () => base.createAdapter(),
        createIntrospector: (of) => base.createIntrospector(of),
        createQueryCompiler: () => base.createQueryCompiler(),
        createDriver: () => {
          const driver = base.createDriver()
          const acquire = driver.acquireConnection.bind(driver)
          driver.acquireConnection = async () => {
            const connection = await acquire()
            if (!set.has(connection)) await connection.executeQuery(CompiledQuery.raw(setting))
            set.add(connection)
            return connection
          }
          return driver
        },
      },
    })
    opened.push(db)
    return db
  }

  it.each([
    ['half a character', `a${HALF}`],
    ['a NUL', 'a\0b'],
    ['a space at its end', 'a '],
    ['more than 191 characters', 'a'.repeat(192)],
    ['nothing', ''],
  ])('is refused with %s in an id, a jobRef or the name of a queue', async (_, wrong) => {
    const monitor = await fixture.started()
    const config = { code: 'HOLDFAST_CONFIG' }
    await expect(monitor.register({ payload: null, id: wrong })).rejects.toMatchObject(config)
    await expect(monitor.register({ payload: null, jobRef: wrong })).rejects.toMatchObject(config)
    expect(() => fixture.monitor({ adapters: [tableQueueAdapter({ name: wrong })] })).toThrow(/name must be/)
    expect(await taskRows(fixture.db)).toEqual([])
  })

  it('tells two ids that differ in half a character only, by refusing both', async () => {
    const monitor = await fixture.started()
    for (const jobRef of ['job \ud83d', 'job \ude00']) {
      await expect(monitor.register({ payload: null, jobRef })).rejects.toThrow('well-formed')
    }
    await monitor.register({ payload: null, jobRef: 'job \ud83d\ude00' })
  })

  it('is refused with a label that no database stores', () => {
    for (const label of ['a\0b', HALF]) expect(() => fixture.monitor({ label })).toThrow(/label must be/)
  })

  it('is refused when a codec makes a text of it that no database stores', async () => {
    for (const made of ['a\0b', HALF]) {
      const codec = { encode: () => made, decode: () => '' }
      const monitor = await fixture.started({ codec })
      await expect(monitor.register({ payload: null })).rejects.toMatchObject({ code: 'HOLDFAST_PAYLOAD' })
    }
  })

  const settings = onPostgres()
    ? ['set standard_conforming_strings = off', 'set escape_string_warning = on']
    : [
        "set sql_mode = 'NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES'",
        "set sql_mode = 'ANSI_QUOTES'",
        "set sql_mode = ''",
        'set names utf8mb3',
        'set names latin1',
      ]

  it.each(settings)('comes back byte for byte where sessions begin with: %s', async (setting) => {
    const db = withSetting(setting)
    const monitor = new TaskMonitor({ db, adapters: [tableQueueAdapter()], ...fast })
    await monitor.start()
    const payload = { [HARD]: [HARD, null, { deep: HARD }] }
    const jobRef = `ref ${HARD}x`
    const task = await monitor.register({ payload, id: `id ${HARD}x`, jobRef })
    // As a session with the usual settings sees it.
    const { rows } = await sql`select id, job_ref, payload from holdfast_tasks`.execute(fixture.db)
    expect(rows).toEqual([{ id: `id ${HARD}x`, job_ref: jobRef, payload: JSON.stringify(payload) }])
    expect(await monitor.isRegistered(task)).toBe(true)
    await task.release({ payload: { again: payload } })
    await until(async () => (await taskRows(fixture.db)).length === 0)
    const { rows: jobs } = await sql`select ref, body from jobs`.execute(fixture.db)
    expect(jobs).toEqual([{ ref: jobRef, body: JSON.stringify({ again: payload }) }])
    await monitor.stop({ drain: 0 })
  })

  it.runIf(!onPostgres())('is refused at start by sessions that commit no lone statement', async () => {
    const monitor = new TaskMonitor({
      db: withSetting('set autocommit = 0'),
      adapters: [tableQueueAdapter()],
      ...fast,
    })
    await expect(monitor.start()).rejects.toThrow('autocommit is off')
  })

  it.runIf(onPostgres())('is refused at start by sessions that speak another character set', async () => {
    const db = withSetting("set client_encoding = 'LATIN1'")
    const monitor = new TaskMonitor({ db, adapters: [tableQueueAdapter()], ...fast })
    await expect(monitor.start()).rejects.toThrow('client_encoding is LATIN1')
  })

  it('may be large in a script of three bytes a character, many at once', async () => {
    const monitor = await fixture.started({ orphanThreshold: 60_000 })
    const payload = '漢'.repeat(330_000)
    const tasks = await Promise.all(Array.from({ length: 40 }, () => monitor.register({ payload })))
    expect(await taskRows(fixture.db)).toHaveLength(40)
    await Promise.all(tasks.map((task) => task.complete()))
    await rowsGone(fixture.db)
  })
})
