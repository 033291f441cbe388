import { connect, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TaskMonitor, TaskMonitorOptions } from '../src/index.js'
import { Fixture, refs } from './support/fixture.js'
import { addProcess, addTask, stateOf, taskIds } from './support/rows.js'
import { ago, dialect, HOUR } from './support/sql.js'
import { enqueuedRefs, tableQueueAdapter, taskRows } from './support/table-queue.js'

/** No timers run here: what must not happen by itself takes longer than any test. */
const slow = { heartbeatInterval: 3_000, orphanThreshold: 12_000, sweepInterval: 600_000, gcLockTtl: 60_000 }

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

  const monitor = (options: Partial<TaskMonitorOptions> = {}) => fixture.monitor({ ...slow, ...options })

  /** One that is on the list. */
  async function listed(options: Partial<TaskMonitorOptions> = {}): Promise<TaskMonitor> {
    const one = monitor(options)
    await one.pingProcess()
    return one
  }

  /** One that has beaten for long enough to judge those that `addProcess` makes. */
  async function judge(options: Partial<TaskMonitorOptions> = {}): Promise<TaskMonitor> {
    const one = monitor(options)
    await until(async () => (await one.pingProcess()) && one.health().gapFreeForMs >= 1_000)
    return one
  }

  const processes = async () =>
    (
      await sql<{ process_id: string; state: string; beat: number | string }>`
        select process_id, state, beat from holdfast_processes order by started_at, process_id`.execute(
        fixture.db,
      )
    ).rows.map((row) => ({ ...row, beat: Number(row.beat) }))

  const locks = async () =>
    (
      await sql<{ name: string; holder: string | null; ran: number | null }>`
        select name, holder, case when last_run_at is null then 0 else 1 end as ran from holdfast_locks
        order by name`.execute(fixture.db)
    ).rows

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
      await one.removeProcess()
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
      expect(statements.length).toBeLessThanOrEqual(2)
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

  describe('acquireGcLock and releaseGcLock', () => {
    it('take the lock of a queue and give it back, one row for all processes', async () => {
      const [one, two] = [await listed(), await listed()]
      expect(await one.acquireGcLock()).toBe(true)
      expect(await locks()).toEqual([{ name: 'gc:table', holder: one.processId, ran: 0 }])
      expect(await two.acquireGcLock('table')).toBe(false)
      expect(await one.acquireGcLock()).toBe(false)
      expect(await one.releaseGcLock()).toBe(true)
      expect(await locks()).toEqual([{ name: 'gc:table', holder: null, ran: 1 }])
      expect(await one.releaseGcLock()).toBe(false)
    })

    it('are refused after a sweep that ended less than an interval ago, whoever it was', async () => {
      const [one, two] = [await listed(), await listed()]
      await one.acquireGcLock()
      await one.releaseGcLock()
      expect(await one.acquireGcLock()).toBe(false)
      expect(await two.acquireGcLock()).toBe(false)
      await sql`update holdfast_locks set last_run_at = ${ago(HOUR)}`.execute(fixture.db)
      expect(await two.acquireGcLock()).toBe(true)
    })

    it('leave another’s lock alone, also one that was ours until it ran out', async () => {
      const [one, two] = [await listed(), await listed()]
      await one.acquireGcLock()
      expect(await two.releaseGcLock()).toBe(false)
      await sql`update holdfast_locks set expires_at = ${ago(1)}`.execute(fixture.db)
      expect(await two.acquireGcLock()).toBe(true)
      expect(await one.releaseGcLock()).toBe(false)
      expect(await locks()).toEqual([{ name: 'gc:table', holder: two.processId, ran: 0 }])
    })

    it('take it at once from a holder that is gone', async () => {
      const [one, two] = [await listed(), await listed()]
      await one.acquireGcLock()
      await sql`update holdfast_processes set state = 'dead' where process_id = ${one.processId}`.execute(
        fixture.db,
      )
      expect(await two.acquireGcLock()).toBe(true)
    })

    it('know the queues of this monitor only, each with a lock of its own', async () => {
      const adapters = [tableQueueAdapter(), tableQueueAdapter({ name: 'other' })]
      const one = await listed({ adapters })
      await expect(one.acquireGcLock()).rejects.toMatchObject({ code: 'HOLDFAST_CONFIG' })
      await expect(one.acquireGcLock('unknown')).rejects.toMatchObject({ code: 'HOLDFAST_CONFIG' })
      expect(await one.acquireGcLock('table')).toBe(true)
      expect(await one.acquireGcLock('other')).toBe(true)
      expect((await locks()).map(({ name }) => name)).toEqual(['gc:other', 'gc:table'])
    })
  })

  describe('cleanupOrphanedTasks', () => {
    it('makes runnable what processes left that are gone or dead, and forgets these', async () => {
      await addTask(fixture.db, 'h:1:gone', 'a', { jobRef: 'a' })
      await addProcess(fixture.db, 'h:1:dead', { state: 'dead' })
      await addTask(fixture.db, 'h:1:dead', 'b', { jobRef: 'b' })
      const one = await listed()
      expect(await one.cleanupOrphanedTasks()).toEqual({
        fenced: [],
        recovered: 2,
        quarantined: 0,
        failed: 0,
      })
      expect((await sql`select ref, body from jobs order by ref`.execute(fixture.db)).rows).toEqual([
        { ref: 'a', body: '"a"' },
        { ref: 'b', body: '"b"' },
      ])
      expect(await taskRows(fixture.db)).toEqual([])
      expect((await processes()).map(({ process_id }) => process_id)).toEqual([one.processId])
      expect(await one.cleanupOrphanedTasks()).toMatchObject({ recovered: 0 })
    })

    it('leaves the tasks of the living alone, however old, and its own', async () => {
      await addProcess(fixture.db, 'h:1:alive')
      await addTask(fixture.db, 'h:1:alive', 'a', { jobRef: 'a' })
      const one = await judge()
      await one.register({ payload: null, jobRef: 'own' })
      await sql`update holdfast_tasks set created_at = ${ago(24 * HOUR)}`.execute(fixture.db)
      expect(await one.cleanupOrphanedTasks()).toMatchObject({ fenced: [], recovered: 0 })
      // Not even when its lease has run out: whoever sweeps is not dead.
      await sql`update holdfast_processes set lease_expires_at = ${ago(HOUR)}
        where process_id = ${one.processId}`.execute(fixture.db)
      expect(await one.cleanupOrphanedTasks()).toMatchObject({ fenced: [], recovered: 0 })
      expect(await taskRows(fixture.db)).toHaveLength(2)
      expect(await enqueuedRefs(fixture.db)).toEqual([])
    })

    it('finds dead whose lease has run out, once it has beaten for as long itself', async () => {
      await addProcess(fixture.db, 'h:1:late', { leaseMs: -60_000, seenMsAgo: 61_000 })
      await addTask(fixture.db, 'h:1:late', 'a', { jobRef: 'a' })
      const fresh = await listed()
      expect(await fresh.cleanupOrphanedTasks()).toMatchObject({ fenced: [], recovered: 0 })
      expect(await stateOf(fixture.db, 'h:1:late')).toBe('alive')
      const one = await judge()
      expect(await one.cleanupOrphanedTasks()).toMatchObject({ fenced: ['h:1:late'], recovered: 1 })
      expect(await stateOf(fixture.db, 'h:1:late')).toBeUndefined()
      expect(await enqueuedRefs(fixture.db)).toEqual(['a'])
    })

    it('with an orphanThreshold is more patient, but never less than the owner’s lease', async () => {
      await addProcess(fixture.db, 'h:1:late', { leaseMs: -60_000, seenMsAgo: 61_000 })
      await addProcess(fixture.db, 'h:1:alive', { leaseMs: 60_000, seenMsAgo: 30_000 })
      const one = await judge()
      expect(await one.cleanupOrphanedTasks({ orphanThreshold: 90_000 })).toMatchObject({ fenced: [] })
      expect(await one.cleanupOrphanedTasks({ orphanThreshold: 1 })).toMatchObject({ fenced: ['h:1:late'] })
      expect(await stateOf(fixture.db, 'h:1:alive')).toBe('alive')
      for (const orphanThreshold of [0, -1, Number.NaN]) {
        await expect(one.cleanupOrphanedTasks({ orphanThreshold })).rejects.toMatchObject({
          code: 'HOLDFAST_CONFIG',
        })
      }
    })

    it('ends after the batch under way when its signal aborts', async () => {
      for (const ref of refs(10)) await addTask(fixture.db, 'h:1:gone', ref, { jobRef: ref })
      const one = await listed({ batchSize: 3 })
      const over = new AbortController()
      one.on('recovered', () => over.abort())
      expect(await one.cleanupOrphanedTasks({ signal: over.signal })).toMatchObject({ recovered: 3 })
      expect(await taskRows(fixture.db)).toHaveLength(7)
    })

    it('called by two at once recovers each once', async () => {
      for (const ref of refs(100)) await addTask(fixture.db, 'h:1:gone', ref, { jobRef: ref })
      const both = [await listed({ batchSize: 9 }), await listed({ batchSize: 9 })]
      const counts = await Promise.all(both.map((one) => one.cleanupOrphanedTasks()))
      expect(counts[0]!.recovered + counts[1]!.recovered).toBe(100)
      expect(await enqueuedRefs(fixture.db)).toEqual(refs(100))
    })
  })

  it('in turn do what start() does: a crash is found, its job runs again', async () => {
    const { child } = await fixture.holder({ refs: ['a'], monitor: { heartbeatInterval: 100 } })
    await child.kill()
    const one = monitor({ sweepInterval: 100, heartbeatInterval: 100, orphanThreshold: 1_000 })
    await until(async () => {
      await one.pingProcess()
      if (!(await one.acquireGcLock())) return false
      const { recovered } = await one.cleanupOrphanedTasks()
      expect(await one.releaseGcLock()).toBe(true)
      return recovered === 1
    })
    expect(await enqueuedRefs(fixture.db)).toEqual(['a'])
    await one.removeProcess()
    expect(await processes()).toEqual([])
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
    expect([await taskRows(fixture.db), await processes(), await locks()]).toEqual([[], [], []])
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
