import { connect, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TaskMonitorOptions } from '../src/index.js'
import { Fixture, refs } from './support/fixture.js'
import { addProcess, addTask, stateOf, taskIds } from './support/rows.js'
import { dialect } from './support/sql.js'
import { listedIn, lockRows, processRows, stepped } from './support/steps.js'
import { enqueuedRefs, tableQueueAdapter, taskRows } from './support/table-queue.js'

/*
 * What was broken once in libraries like this one, and where it is tested that it can't be here:
 * work that ends during stop, tasks not yet tracked at stop: stop.test.ts; start and stop at once, several times: here
 * and start.test.ts; complete and release exclude each other: here; listeners that throw or stop: here and stop.test.ts;
 * one failing hand-over holds up no other: here; one sweep per interval, a lone process no less: gc-lock.test.ts; a late
 * heartbeat brings nobody back: here and pause.test.ts; two sweepers at once: race.test.ts; a crashed process that was
 * registered: crash.test.ts; the heart beats through a drain: stop.test.ts; an end is accepted once: task-life.test.ts;
 * the suspended and the starved stop themselves: pause.test.ts, heartbeat-connection.test.ts, heartbeat-thread.test.ts;
 * a sweeper never finds itself dead: here; failed writes of an end leave no ghost: here and outage.test.ts.
 */
describe('the pieces of a monitor, each by itself', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const monitor = (options?: Partial<TaskMonitorOptions>) => stepped(fixture, options)
  const listed = (options?: Partial<TaskMonitorOptions>) => listedIn(fixture, options)
  const processes = () => processRows(fixture.db)

  describe('pingProcess and removeProcess', () => {
    it('put this process on the list, keep it there, and take it off', async () => {
      const one = monitor()
      expect(await processes()).toEqual([])
      expect(await one.pingProcess()).toBe(true)
      const [row] = await processes()
      expect(row).toMatchObject({ process_id: one.processId, state: 'alive' })
      expect(await one.pingProcess()).toBe(true)
      expect(await processes()).toEqual([{ ...row, beat: row!.beat + 1 }])
      await one.removeProcess()
      await one.removeProcess()
      expect(await processes()).toEqual([])
    })

    it('begin a new incarnation after a removal', async () => {
      const one = await listed()
      const before = one.processId
      expect(one.health().leaseRemainingMs).toBeGreaterThan(0)
      await one.removeProcess()
      expect(one.health().leaseRemainingMs).toBe(0)
      await expect(one.register({ payload: null })).rejects.toMatchObject({ code: 'HOLDFAST_NOT_STARTED' })
      await one.pingProcess()
      expect(one.processId).not.toBe(before)
      expect((await processes()).map(({ process_id }) => process_id)).toEqual([one.processId])
      const task = await one.register({ payload: null })
      await one.pingProcess()
      await task.complete()
    })

    it('give back at removal what is in flight, which is no crash', async () => {
      const one = await listed()
      const task = await one.register({ payload: null, jobRef: 'a' })
      await one.removeProcess()
      expect(task.signal.reason).toMatchObject({ code: 'HOLDFAST_STOPPED' })
      expect(await enqueuedRefs(fixture.db)).toEqual(['a'])
      expect(await taskRows(fixture.db)).toEqual([])
      expect((await sql`select * from holdfast_crashes`.execute(fixture.db)).rows).toEqual([])
      await expect(task.complete()).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
    })

    it('bring nobody back who was found dead: a late heartbeat makes a new incarnation', async () => {
      const one = await listed()
      const dead = one.processId
      const task = await one.register({ payload: null, jobRef: 'a' })
      await sql`update holdfast_processes set state = 'dead'`.execute(fixture.db)
      await one.pingProcess()
      expect(await stateOf(fixture.db, dead)).toBe('dead')
      expect(one.processId).not.toBe(dead)
      expect(await stateOf(fixture.db, one.processId)).toBe('alive')
      expect(task.signal.reason).toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
      expect(await taskIds(fixture.db)).toEqual([task.fullId])
    })

    it('are refused, like all else, before the first ping and after stop', async () => {
      const one = monitor()
      const refusals = async (code: string) => {
        for (const call of [
          () => one.register({ payload: null }),
          () => one.run({ payload: null }, async () => undefined),
          () => one.acquireGcLock(),
        ]) {
          await expect(call()).rejects.toMatchObject({ code })
        }
      }
      await refusals('HOLDFAST_NOT_STARTED')
      await one.pingProcess()
      await one.stop()
      await refusals('HOLDFAST_STOPPED')
      await expect(one.pingProcess()).rejects.toMatchObject({ code: 'HOLDFAST_STOPPED' })
      expect(await processes()).toEqual([])
    })
  })

  describe('register and unregister', () => {
    it('write and end a row, given the handle, the id or the full id', async () => {
      const one = await listed()
      const ends: unknown[] = []
      one.on('completed', ({ taskId }) => ends.push(taskId))
      for (const form of ['handle', 'id', 'fullId'] as const) {
        const task = await one.register({ payload: null, jobRef: form })
        const given = form === 'handle' ? task : task[form]
        expect(await taskIds(fixture.db)).toEqual([task.fullId])
        expect(one.fullTaskId(task.id)).toBe(task.fullId)
        expect(await one.isRegistered(given)).toBe(true)
        await one.unregister(given)
        expect(await taskIds(fixture.db)).toEqual([])
        expect(await one.isRegistered(given)).toBe(false)
        expect(ends.at(-1)).toBe(task.fullId)
        await expect(one.unregister(given)).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
        await expect(task.complete()).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
      }
      expect(one.health().inFlight).toBe(0)
      await expect(one.unregister('never was')).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
    })

    it('of an id whose end could not be written leave no ghost: heartbeats end it', async () => {
      const one = await listed()
      const task = await one.register({ payload: null, jobRef: 'a' })
      await sql`alter table holdfast_tasks rename to hidden`.execute(fixture.db)
      await expect(one.unregister(task.id)).rejects.toMatchObject({ code: 'HOLDFAST_DATABASE' })
      await sql`alter table hidden rename to holdfast_tasks`.execute(fixture.db)
      expect(await taskIds(fixture.db)).toEqual([task.fullId])
      await one.pingProcess()
      await until(async () => (await taskIds(fixture.db)).length === 0)
      await one.removeProcess()
      expect(await enqueuedRefs(fixture.db)).toEqual([])
    })

    it('know who has a job in flight, also elsewhere', async () => {
      const [one, two] = [await listed(), await listed()]
      const task = await one.register({ payload: null, jobRef: 'a' })
      for (const monitor of [one, two]) {
        expect(await monitor.holderOf('a')).toEqual({ processId: one.processId, state: 'alive' })
      }
      await task.complete()
      expect(await two.holderOf('a')).toBeUndefined()
      await expect(two.holderOf('a', 'none')).rejects.toMatchObject({ code: 'HOLDFAST_CONFIG' })
    })

    it('don’t know what another has taken over, or has claimed to recover', async () => {
      const one = await listed()
      const lost = await one.register({ payload: null, jobRef: 'a' })
      const claimed = await one.register({ payload: null, jobRef: 'b' })
      await (await listed()).register({ payload: null, jobRef: 'a' })
      await sql`update holdfast_tasks set claim_token = 'x' where job_ref = 'b'`.execute(fixture.db)
      for (const task of [lost, claimed]) {
        expect(await one.isRegistered(task)).toBe(false)
        expect(await one.isRegistered(task.id)).toBe(false)
        await expect(one.unregister(task)).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
      }
      expect(await taskRows(fixture.db)).toHaveLength(2)
    })

    it('and release of one task exclude each other', async () => {
      const one = await listed()
      for (const first of ['complete', 'release'] as const) {
        const task = await one.register({ payload: null, jobRef: first })
        const second = first === 'complete' ? 'release' : 'complete'
        const results = await Promise.allSettled([task[first](), task[second](), one.unregister(task.id)])
        expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected'])
      }
      expect(await enqueuedRefs(fixture.db)).toEqual(['release'])
    })
  })

  describe('updateHeartbeats', () => {
    const touched = async () =>
      (
        await sql<{ job_ref: string }>`
          select job_ref from holdfast_tasks where progress_at is not null order by job_ref`.execute(
          fixture.db,
        )
      ).rows.map(({ job_ref }) => job_ref)

    it('notes the progress of the tasks named, or of all, and of none', async () => {
      const one = await listed()
      const [a, b] = await Promise.all(
        ['a', 'b', 'c'].map((jobRef) => one.register({ payload: null, jobRef })),
      )
      expect(await one.updateHeartbeats([])).toBe(0)
      expect(await touched()).toEqual([])
      expect(await one.updateHeartbeats([a!, b!.id])).toBe(2)
      expect(await touched()).toEqual(['a', 'b'])
      expect(await one.updateHeartbeats()).toBe(3)
      expect(await touched()).toEqual(['a', 'b', 'c'])
      expect(await one.updateHeartbeats(['never was'])).toBe(0)
    })

    it('is one update, however many the tasks', async () => {
      const statements: string[] = []
      const db = connect(fixture.database.url, 2, ({ sql: text }) => statements.push(text))
      const one = await listed({ db })
      await Promise.all(refs(100).map((jobRef) => one.register({ payload: null, jobRef })))
      statements.length = 0
      expect(await one.updateHeartbeats()).toBe(100)
      expect(statements.filter((text) => /^\s*update/.test(text))).toHaveLength(1)
      // Beside it: which are free, which are there, and a transaction around that.
      expect(statements.length).toBeLessThanOrEqual(6)
      await one.stop({ drain: 0 })
      await db.destroy()
    })

    it('aborts what another process has taken over, and nothing else', async () => {
      const one = await listed()
      const [lost, kept] = await Promise.all(
        ['a', 'b'].map((jobRef) => one.register({ payload: null, jobRef })),
      )
      await (await listed()).register({ payload: null, jobRef: 'a' })
      expect(await one.updateHeartbeats()).toBe(1)
      expect(lost!.signal.reason).toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
      expect(kept!.signal.aborted).toBe(false)
      expect(await touched()).toEqual(['b'])
    })

    it('leaves a task alone whose registration is under way', async () => {
      const one = await listed()
      const registering = await fixture.db.transaction().execute(async (trx) => {
        await sql`select process_id from holdfast_processes for update`.execute(trx)
        const under_way = one.register({ payload: null, jobRef: 'a' })
        await until(() => one.health().inFlight === 1)
        expect(await one.updateHeartbeats()).toBe(0)
        return { under_way }
      })
      expect((await registering.under_way).signal.aborted).toBe(false)
      expect(await one.updateHeartbeats()).toBe(1)
    })
  })

  it('show the configuration, frozen', async () => {
    const { config } = monitor({ label: 'x', orphanThreshold: 45_000 })
    expect(config).toMatchObject({ label: 'x', orphanThreshold: 45_000, heartbeatInterval: 3_000 })
    expect(Object.isFrozen(config)).toBe(true)
  })

  it('clear all tables for tests, and never else', async () => {
    await addTask(fixture.db, 'h:1:gone', 'a', { jobRef: 'a' })
    await addProcess(fixture.db, 'h:1:dead', { state: 'dead' })
    await expect(monitor().clearAll()).rejects.toMatchObject({ code: 'HOLDFAST_CONFIG' })
    expect(await taskRows(fixture.db)).toHaveLength(1)
    const one = await listed({ testing: true })
    await one.acquireGcLock()
    await one.clearAll()
    expect([await taskRows(fixture.db), await processes(), await lockRows(fixture.db)]).toEqual([[], [], []])
    const { rows } = await sql`select id from holdfast_migrations`.execute(fixture.db)
    expect(rows.length).toBeGreaterThan(0)
  })

  it('stand listeners that throw what is no error, or call back', async () => {
    const one = await listed()
    one.on('registered', () => {
      throw undefined
    })
    one.on('registered', async () => Promise.reject('no error'))
    one.on('completed', () => void one.removeProcess())
    await (await one.register({ payload: null })).complete()
    await until(async () => (await processes()).length === 0)
  })

  it('give back all but the one that its queue refuses, which is kept for the next sweep', async () => {
    const one = await listed({ adapters: [tableQueueAdapter({ failing: new Set(['b']) })] })
    for (const jobRef of ['a', 'b', 'c']) await one.register({ payload: null, jobRef })
    await one.removeProcess()
    expect(await enqueuedRefs(fixture.db)).toEqual(['a', 'c'])
    const { rows } = await sql`select job_ref, last_error from holdfast_tasks`.execute(fixture.db)
    expect(rows).toEqual([{ job_ref: 'b', last_error: 'the queue refuses b' }])
    await sql`update holdfast_tasks set retry_at = ${dialect.now}`.execute(fixture.db)
    const next = await listed()
    await until(async () => (await next.cleanupOrphanedTasks()).recovered === 1)
    expect(await enqueuedRefs(fixture.db)).toEqual(['a', 'b', 'c'])
  })

  it('started, stopped and removed at once leave nothing behind', async () => {
    for (let n = 0; n < 5; n++) {
      const one = monitor()
      const all = [one.start(), one.pingProcess(), one.start(), one.removeProcess(), one.stop(), one.stop()]
      await Promise.allSettled(all)
      expect(one.health().state).toBe('stopped')
    }
    expect(await processes()).toEqual([])
  })
})
