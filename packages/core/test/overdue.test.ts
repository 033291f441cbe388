import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'
import { enqueuedRefs, taskRows } from './support/table-queue.js'

const never = () => new Promise<never>(() => undefined)

describe('a task that runs for longer than its maxRuntime', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const crashes = async () =>
    (await sql`select job_ref, count from holdfast_crashes`.execute(fixture.db)).rows

  it('is reported once and aborts by default, and is still its process’s', async () => {
    const monitor = await fixture.started()
    const events: unknown[] = []
    monitor.on('taskOverdue', (event) => events.push(event))
    const task = await monitor.register({ payload: null, jobRef: 'slow', maxRuntime: 50 })
    await until(() => task.signal.aborted)
    expect(task.signal.reason).toMatchObject({
      code: 'HOLDFAST_TASK_OVERDUE',
      message: expect.stringContaining('its maxRuntime (50 ms)'),
    })
    expect(events).toEqual([
      { taskId: task.fullId, queue: 'table', jobRef: 'slow', maxRuntime: 50, action: 'abort' },
    ])
    expect(await taskRows(fixture.db)).toHaveLength(1)
    await task.complete()
    expect(await enqueuedRefs(fixture.db)).toEqual([])
    expect(events).toHaveLength(1)
  })

  it('is only reported where that is all it shall be', async () => {
    const monitor = await fixture.started()
    const options = { payload: null, jobRef: 'slow', maxRuntime: 50, onOverdue: 'report' } as const
    const result = await monitor.run(options, async (task) => {
      await until(() => monitor.health().events.taskOverdue === 1)
      return task.signal.aborted
    })
    expect(result).toBe(false)
    expect(await taskRows(fixture.db)).toEqual([])
    expect(await enqueuedRefs(fixture.db)).toEqual([])
  })

  it('in run() has failed when the abort ends it: its row ends, and its queue may retry it', async () => {
    const monitor = await fixture.started()
    const running = monitor.run({ payload: null, jobRef: 'slow', maxRuntime: 50 }, async ({ signal }) => {
      await until(() => signal.aborted)
      signal.throwIfAborted()
    })
    await expect(running).rejects.toMatchObject({ code: 'HOLDFAST_TASK_OVERDUE' })
    expect(await taskRows(fixture.db)).toEqual([])
    expect(await enqueuedRefs(fixture.db)).toEqual([])
  })

  it('is recovered at once where it shall be, as after a crash, and its late complete is refused', async () => {
    const monitor = await fixture.started()
    const recovered: unknown[] = []
    monitor.on('recovered', (event) => recovered.push(event))
    const task = await monitor.register({
      ...{ payload: null, jobRef: 'stuck' },
      ...{ maxRuntime: 50, onOverdue: 'recover' as const },
    })
    await until(async () => (await enqueuedRefs(fixture.db)).length === 1)
    await until(() => recovered.length === 1)
    expect(recovered).toEqual([expect.objectContaining({ jobRef: 'stuck', cause: 'overdue', crashes: 1 })])
    expect(await crashes()).toEqual([{ job_ref: 'stuck', count: 1 }])
    expect(task.signal.reason).toMatchObject({ code: 'HOLDFAST_TASK_OVERDUE' })
    await expect(task.complete()).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
    await expect(task.release()).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
    expect(await taskRows(fixture.db)).toEqual([])
    expect(await enqueuedRefs(fixture.db)).toEqual(['stuck'])
  })

  it('in run() is recovered once, be its handler cut short by that or never', async () => {
    const monitor = await fixture.started()
    const options = { payload: null, maxRuntime: 50, onOverdue: 'recover' } as const
    void monitor.run({ ...options, jobRef: 'never' }, never)
    const cut = monitor.run({ ...options, jobRef: 'cut' }, async ({ signal }) => {
      await until(() => signal.aborted)
      signal.throwIfAborted()
    })
    await expect(cut).rejects.toMatchObject({ code: 'HOLDFAST_TASK_OVERDUE' })
    const late = monitor.run({ ...options, jobRef: 'late' }, async ({ signal }) => {
      await until(() => signal.aborted)
      return 'finished all the same'
    })
    await expect(
      late.then(
        () => 'accepted',
        (error) => error.code,
      ),
    ).resolves.toBe('HOLDFAST_TASK_LOST')
    await until(async () => (await taskRows(fixture.db)).length === 0)
    expect(await enqueuedRefs(fixture.db)).toEqual(['cut', 'late', 'never'])
    expect(await crashes()).toHaveLength(3)
    // Nobody waits for the handler that never ends.
    await monitor.stop({ drain: 60_000 })
    expect(await enqueuedRefs(fixture.db)).toHaveLength(3)
  })

  it('is recovered maxRecoveries times, then stands in quarantine', async () => {
    const monitor = await fixture.started({ maxRecoveries: 2, recoveryBackoff: 1 })
    for (let run = 1; run <= 3; run++) {
      await sql`delete from jobs`.execute(fixture.db)
      const options = { payload: { run }, jobRef: 'stuck', maxRuntime: 30, onOverdue: 'recover' } as const
      const task = await monitor.register(options)
      await until(() => task.signal.aborted)
      await until(async () => (await taskRows(fixture.db)).length === 0)
    }
    expect(await enqueuedRefs(fixture.db)).toEqual(['stuck', 'stuck'])
    const { rows } = await sql`select job_ref, reason, last_error, crashes from holdfast_quarantine`.execute(
      fixture.db,
    )
    expect(rows).toEqual([
      {
        job_ref: 'stuck',
        reason: expect.stringContaining('more than maxRecoveries (2) allows'),
        last_error: expect.stringContaining('it ran for longer than its maxRuntime'),
        crashes: 3,
      },
    ])
  })

  it('is not overdue once it has ended, however that was', async () => {
    const monitor = await fixture.started()
    const options = { payload: null, maxRuntime: 60 } as const
    await (await monitor.register(options)).complete()
    await (await monitor.register(options)).release()
    const inTransaction = await monitor.register(options)
    await fixture.db.transaction().execute((trx) => inTransaction.complete({ trx }))
    const after = await monitor.register({ ...options, maxRuntime: 150 })
    await until(() => after.signal.aborted)
    expect(monitor.health().events.taskOverdue).toBe(1)
    await after.complete()
  })

  it.each([0, -1, Number.NaN, 2 ** 31, '5'])('can’t have %s as its maxRuntime', async (maxRuntime) => {
    const monitor = await fixture.started()
    const wrong = monitor.register({ payload: null, maxRuntime: maxRuntime as number })
    await expect(wrong).rejects.toMatchObject({ code: 'HOLDFAST_CONFIG' })
    expect(await taskRows(fixture.db)).toEqual([])
  })

  it('that its database does not hear of is given up when it answers again', async () => {
    const monitor = await fixture.started()
    const options = { payload: null, jobRef: 'stuck', maxRuntime: 300, onOverdue: 'recover' } as const
    await monitor.register(options)
    const { rows } = await sql`select id from holdfast_tasks`.execute(fixture.db)
    // A lock in its way: the write waits, and goes through afterwards.
    await fixture.db.transaction().execute(async (trx) => {
      await sql`select id from holdfast_tasks for update`.execute(trx)
      await until(() => (monitor.health().events.taskOverdue ?? 0) === 1)
      expect(await taskRows(fixture.db)).toHaveLength(rows.length)
    })
    await until(async () => (await enqueuedRefs(fixture.db)).length === 1)
    expect(await crashes()).toEqual([{ job_ref: 'stuck', count: 1 }])
  })
})
