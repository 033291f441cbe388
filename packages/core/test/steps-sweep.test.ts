import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TaskMonitorOptions } from '../src/index.js'
import { Fixture, refs } from './support/fixture.js'
import { addProcess, addTask, stateOf } from './support/rows.js'
import { ago, HOUR } from './support/sql.js'
import { judgeIn, listedIn, lockRows, processRows, stepped } from './support/steps.js'
import { enqueuedRefs, tableQueueAdapter, taskRows } from './support/table-queue.js'

describe('a sweep by hand', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const monitor = (options?: Partial<TaskMonitorOptions>) => stepped(fixture, options)
  const listed = (options?: Partial<TaskMonitorOptions>) => listedIn(fixture, options)
  const judge = (options?: Partial<TaskMonitorOptions>) => judgeIn(fixture, options)
  const processes = () => processRows(fixture.db)
  const locks = () => lockRows(fixture.db)

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
})
