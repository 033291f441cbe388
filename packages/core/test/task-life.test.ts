import { freshDatabase, type TestDatabase, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HoldfastError, migrate, TaskLostError, TaskMonitor } from '../src/index.js'
import { fast } from './support/fast.js'
import { createTableQueue, enqueuedRefs, tableQueueAdapter, taskRows } from './support/table-queue.js'

describe('the life of a task', () => {
  let database: TestDatabase
  let monitor: TaskMonitor

  beforeEach(async () => {
    database = await freshDatabase()
    await migrate(database.db)
    await createTableQueue(database.db)
    monitor = new TaskMonitor({ db: database.db, adapters: [tableQueueAdapter()], ...fast })
    await monitor.start()
  })

  afterEach(async () => {
    await monitor.stop({ drain: 0 })
    await database[Symbol.asyncDispose]()
  })

  it('is a row from register to complete', async () => {
    const task = await monitor.register({ payload: { n: 1 }, jobRef: 'a' })
    expect(await taskRows(database.db)).toEqual([
      { process_id: monitor.processId, id: task.id, job_ref: 'a' },
    ])
    expect(task.fullId).toBe(`${monitor.processId}/${task.id}`)
    await task.complete()
    expect(await taskRows(database.db)).toEqual([])
  })

  it('accepts one complete only', async () => {
    const task = await monitor.register({ payload: null })
    await task.complete()
    const error = await task.complete().catch((e: unknown) => e)
    expect(TaskLostError.is(error)).toBe(true)
    expect(HoldfastError.is(error)).toBe(true)
    expect((error as Error).name).toBe('TaskLostError')
  })

  it('of many completes at once, accepts one', async () => {
    const task = await monitor.register({ payload: null })
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => task.complete()))
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('registers and completes a thousand tasks called at once', async () => {
    const tasks = await Promise.all(
      Array.from({ length: 1_000 }, (_, n) => monitor.register({ payload: { n }, jobRef: `job-${n}` })),
    )
    expect(await taskRows(database.db)).toHaveLength(1_000)
    await Promise.all(tasks.map((task) => task.complete()))
    expect(await taskRows(database.db)).toEqual([])
  })

  it('commits or rolls back with the transaction it completes in', async () => {
    const { db } = database
    await sql`create table results (n int)`.execute(db)
    const task = await monitor.register({ payload: null })
    const work = db.transaction().execute(async (trx) => {
      await sql`insert into results values (1)`.execute(trx)
      await task.complete({ trx })
      throw new Error('rolled back')
    })
    await expect(work).rejects.toThrow('rolled back')
    expect(await taskRows(db)).toHaveLength(1)

    await db.transaction().execute(async (trx) => {
      await sql`insert into results values (2)`.execute(trx)
      await task.complete({ trx })
    })
    expect(await monitor.isRegistered(task)).toBe(false)
    await until(async () => (await taskRows(db)).length === 0, { what: 'the next heartbeat' })
    expect((await sql`select n from results`.execute(db)).rows).toEqual([{ n: 2 }])
  })

  it('whose transaction was rolled back is in flight again', async () => {
    const task = await monitor.register({ payload: null, jobRef: 'a' })
    const work = database.db.transaction().execute(async (trx) => {
      await task.complete({ trx })
      throw new Error('rolled back')
    })
    await expect(work).rejects.toThrow('rolled back')
    await until(() => monitor.health().inFlight === 1)
    await monitor.stop({ drain: 0 })
    expect(task.signal.aborted).toBe(true)
    expect(await enqueuedRefs(database.db)).toEqual(['a'])
  })

  it('refuses a complete in something that is no transaction', async () => {
    const task = await monitor.register({ payload: null })
    // @ts-expect-error a Kysely instance is no transaction
    await expect(task.complete({ trx: database.db })).rejects.toMatchObject({ code: 'HOLDFAST_CONFIG' })
    expect(await taskRows(database.db)).toHaveLength(1)
  })

  it('given back, is runnable again at once and counts as no crash', async () => {
    const task = await monitor.register({ payload: { n: 1 }, jobRef: 'a' })
    await task.release()
    expect(await enqueuedRefs(database.db)).toEqual(['a'])
    expect(await taskRows(database.db)).toEqual([])
    expect((await sql`select * from holdfast_crashes`.execute(database.db)).rows).toEqual([])
    await expect(task.complete()).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
  })

  it('registered again under the same jobRef, is taken over from its former holder', async () => {
    const first = await monitor.register({ payload: { run: 1 }, jobRef: 'a' })
    const second = await monitor.register({ payload: { run: 2 }, jobRef: 'a' })
    expect(await taskRows(database.db)).toEqual([
      { process_id: monitor.processId, id: second.id, job_ref: 'a' },
    ])
    await expect(first.complete()).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
    await second.complete()
  })

  it('runs inside run(), which completes it, also when the work throws', async () => {
    expect(await monitor.run({ payload: null }, async () => 42)).toBe(42)
    const failing = monitor.run({ payload: null }, async () => {
      expect(await taskRows(database.db)).toHaveLength(1)
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(await taskRows(database.db)).toEqual([])
  })

  it('inside run() may complete itself in a transaction', async () => {
    await monitor.run({ payload: null }, async (task) => {
      await database.db.transaction().execute((trx) => task.complete({ trx }))
    })
    expect(await taskRows(database.db)).toEqual([])
  })

  it('is seen through the plugins of the user only as far as the user goes', async () => {
    const { CamelCasePlugin } = await import('kysely')
    const plugged = new TaskMonitor({
      db: database.db.withPlugin(new CamelCasePlugin()),
      adapters: [tableQueueAdapter()],
      ...fast,
    })
    await plugged.start()
    await plugged.run({ payload: { snake_case: 1 } }, async () => undefined)
    await plugged.stop()
  })
})
