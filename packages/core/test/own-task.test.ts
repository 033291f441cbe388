import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { OwnTask, type TaskHandle, type TaskMonitor } from '../src/index.js'
import { Fixture } from './support/fixture.js'
import { enqueuedRefs, taskRows } from './support/table-queue.js'

describe('the task of a job as its handler has it', () => {
  let fixture: Fixture
  let monitor: TaskMonitor
  let task: TaskHandle
  let own: OwnTask
  beforeEach(async () => {
    fixture = await Fixture.create()
    monitor = await fixture.started()
    task = await monitor.register({ payload: { of: 'the adapter' }, jobRef: 'a' })
    own = new OwnTask(task, monitor)
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('is the monitor’s, and says what became of it', async () => {
    expect(own.handle).toMatchObject({ id: task.id, fullId: task.fullId, jobRef: 'a', protected: true })
    expect(own.handle.signal).toBe(task.signal)
    await own.handle.confirm()
    expect(await own.became()).toBe('open')
    await fixture.db.transaction().execute((trx) => own.handle.complete({ trx }))
    expect(await own.outcome()).toBe('completed')
    expect(own.handle.open).toBe(false)
  })

  it('can be given back, but not with another payload than its adapter’s', async () => {
    const wrong = own.handle.release({ payload: { of: 'the handler' } })
    await expect(wrong).rejects.toMatchObject({ code: 'HOLDFAST_CONFIG' })
    expect(own.isReleased).toBe(false)
    expect(await taskRows(fixture.db)).toHaveLength(1)
    const released = own.handle.release()
    // The job may begin elsewhere before the answer is here.
    expect(own.isReleased).toBe(true)
    await released
    expect(await own.outcome()).toBe('released')
    expect(await enqueuedRefs(fixture.db)).toEqual(['a'])
  })

  it('takes no word of a handler that is over', async () => {
    expect(await own.outcome()).toBe('open')
    for (const late of [() => own.handle.complete(), () => own.handle.release()]) {
      await expect(late()).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
    }
    expect(await taskRows(fixture.db)).toHaveLength(1)
    await task.complete()
  })

  it('knows whether its handler is at work, and makes what that throws fit for the queue', async () => {
    const work = own.work(
      async () => {
        expect(own.isRunning).toBe(true)
        throw undefined
      },
      () => new Error('nothing'),
    )
    await expect(work).rejects.toThrow('nothing')
    expect(own.isRunning).toBe(false)
  })
})
