import { setTimeout as delay } from 'node:timers/promises'
import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture, refs } from './support/fixture.js'
import { enqueuedRefs, tableQueueAdapter, taskRows } from './support/table-queue.js'

describe('stop', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('hands over at once, without waiting for the lease to end and without counting a crash', async () => {
    const { child } = await fixture.holder({ refs: refs(4), monitor: { orphanThreshold: 3_600_000 } })
    child.send('stop')
    await child.message('stopped')
    expect(await enqueuedRefs(fixture.db)).toEqual(refs(4))
    expect(await taskRows(fixture.db)).toEqual([])
    expect((await sql`select * from holdfast_processes`.execute(fixture.db)).rows).toEqual([])
    expect((await sql`select * from holdfast_crashes`.execute(fixture.db)).rows).toEqual([])
    expect(await child.exited).toEqual({ code: 0, signal: null })
  })

  it('waits for tasks in flight, beating on for longer than a lease', async () => {
    const monitor = await fixture.started()
    await fixture.started()
    const task = await monitor.register({ payload: null, jobRef: 'slow' })
    const { rows: before } = await sql<{ beat: string }>`
      select beat from holdfast_processes where process_id = ${monitor.processId}`.execute(fixture.db)
    const stopped = monitor.stop({ drain: 60_000 })
    await expect(monitor.register({ payload: null })).rejects.toMatchObject({ code: 'HOLDFAST_STOPPED' })
    await until(async () => {
      const { rows } = await sql<{ beat: string }>`
        select beat from holdfast_processes where process_id = ${monitor.processId}`.execute(fixture.db)
      return Number(rows[0]!.beat) > Number(before[0]!.beat) + 7
    })
    expect(task.signal.aborted).toBe(false)
    await task.complete()
    await stopped
    expect(await enqueuedRefs(fixture.db)).toEqual([])
  })

  it('cuts off what outlasts the drain, and gives it back', async () => {
    const monitor = await fixture.started()
    const task = await monitor.register({ payload: null, jobRef: 'endless' })
    await monitor.stop({ drain: 100 })
    expect(task.signal.reason).toMatchObject({ code: 'HOLDFAST_STOPPED' })
    expect(await enqueuedRefs(fixture.db)).toEqual(['endless'])
    await expect(task.complete()).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
  })

  it('leaves adapters a moment when the drain is over, as its own end depends on none', async () => {
    const told: string[] = []
    const slow = (ms: number) => async (_: unknown, over: AbortSignal) => {
      await new Promise((resolve) => over.addEventListener('abort', resolve, { once: true }))
      await delay(ms, undefined, { ref: false })
      told.push(`${ms} ms`)
    }
    const adapters = [200, 600_000].map((ms) => ({ ...tableQueueAdapter(), name: `${ms}`, onStop: slow(ms) }))
    const monitor = await fixture.started({ adapters })
    await monitor.stop({ drain: 50 })
    expect(told).toEqual(['200 ms'])
  })

  it('cuts off work inside run(), which is not lost by it', async () => {
    const monitor = await fixture.started()
    const running = monitor.run({ payload: null, jobRef: 'patient' }, async (task) => {
      await new Promise((_, reject) =>
        task.signal.addEventListener('abort', () => reject(task.signal.reason)),
      )
    })
    running.catch(() => undefined)
    await until(async () => (await taskRows(fixture.db)).length === 1)
    await monitor.stop({ drain: 50 })
    await expect(running).rejects.toMatchObject({ code: 'HOLDFAST_STOPPED' })
    expect(await enqueuedRefs(fixture.db)).toEqual(['patient'])
  })

  it('with drain Infinity waits for all, and refuses what is no time', async () => {
    const monitor = await fixture.started()
    for (const drain of [-1, Number.NaN, '1']) {
      await expect(monitor.stop({ drain: drain as number })).rejects.toMatchObject({
        code: 'HOLDFAST_CONFIG',
      })
    }
    const task = await monitor.register({ payload: null, jobRef: 'slow' })
    const stopped = monitor.stop({ drain: Number.POSITIVE_INFINITY })
    await until(() => monitor.health().state === 'stopping')
    await task.complete()
    await stopped
    expect(await enqueuedRefs(fixture.db)).toEqual([])
  })

  it('can be called again, from a listener and before start', async () => {
    const monitor = await fixture.started()
    monitor.on('registered', () => void monitor.stop({ drain: 0 }))
    await monitor.register({ payload: null, jobRef: 'a' })
    await Promise.all([monitor.stop(), monitor.stop()])
    await expect(monitor.start()).rejects.toMatchObject({ code: 'HOLDFAST_STOPPED' })
    await fixture.monitor().stop()
  })

  it('happens by itself at the end of `await using`', async () => {
    {
      await using monitor = fixture.monitor()
      await monitor.start()
      await monitor.run({ payload: null }, async () => undefined)
    }
    expect((await sql`select * from holdfast_processes`.execute(fixture.db)).rows).toEqual([])
  })
})
