import { setTimeout as delay } from 'node:timers/promises'
import { onPostgres, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { TaskMonitor } from '../src/index.js'
import { fast } from './support/fast.js'
import { Fixture } from './support/fixture.js'
import { tableQueueAdapter, taskRows } from './support/table-queue.js'
import { withIsolation } from './support/with-isolation.js'

const undone = new Error('undone')

describe('complete({ trx })', () => {
  let fixture: Fixture
  let monitor: TaskMonitor
  beforeEach(async () => {
    fixture = await Fixture.create()
    monitor = await fixture.started()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it.each<[string, (complete: () => Promise<void>) => Promise<unknown>]>([
    ['another statement that fails at once', (complete) => Promise.all([complete(), Promise.reject(undone)])],
    [
      'work that fails while it waits behind a statement',
      (complete) => Promise.all([complete(), delay(5).then(() => Promise.reject(undone))]),
    ],
    ['a time limit', (complete) => Promise.race([complete(), delay(5).then(() => Promise.reject(undone))])],
  ])('that is under way as its transaction is rolled back has not ended: %s', async (_, work) => {
    for (let n = 0; n < 10; n++) {
      const task = await monitor.register({ payload: null, jobRef: `late ${n}` })
      const rolledBack = fixture.db.transaction().execute((trx) =>
        work(async () => {
          const slow = onPostgres() ? sql`select pg_sleep(0.02)` : sql`select sleep(0.02)`
          const slept = slow.execute(trx)
          await Promise.all([slept, task.complete({ trx })])
        }),
      )
      await expect(rolledBack).rejects.toBe(undone)
      expect(await monitor.settle(task)).toBe('open')
      await task.complete()
    }
  })

  const levels = ['read uncommitted', 'repeatable read', 'serializable']
  it.each(levels)('that rolls back is told as that, where sessions are %s by default', async (level) => {
    await using own = withIsolation(fixture.database.url, level)
    const one = new TaskMonitor({ db: own, adapters: [tableQueueAdapter()], ...fast })
    await one.start()
    let asked: Promise<string> | undefined
    const task = await one.register({ payload: null, jobRef: 'a' })
    const work = own.transaction().execute(async (trx) => {
      await task.complete({ trx })
      asked = one.settle(task)
      // Heartbeats ask as well.
      const { leaseRemainingMs } = one.health()
      await until(() => one.health().leaseRemainingMs > leaseRemainingMs, { what: 'the next heartbeat' })
      throw undone
    })
    await expect(work).rejects.toBe(undone)
    expect(await asked).toBe('open')
    await task.complete()
    expect(await taskRows(fixture.db)).toEqual([])
    await one.stop({ drain: 0 })
  })
})
