import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TaskMonitor } from '../src/index.js'
import { Fixture } from './support/fixture.js'
import { PrivateServer } from './support/private-server.js'
import { enqueuedRefs, taskRows } from './support/table-queue.js'

describe('a task that can’t be registered for want of the database', () => {
  let own: PrivateServer
  let fixture: PrivateServer['fixture']
  let server: PrivateServer['server']
  beforeEach(async () => {
    own = await PrivateServer.create()
    ;({ fixture, server } = own)
  })
  afterEach(() => own[Symbol.asyncDispose]())

  it('does not run by default; with run-unprotected it does, says so, and leaves no row', async () => {
    const careful = await fixture.started({ orphanThreshold: 60_000 })
    const bold = await fixture.started({ orphanThreshold: 5_000, onRegisterFailure: 'run-unprotected' })
    const events: unknown[] = []
    bold.on('unprotected', (event) => events.push(event))

    await server.stop('immediate')
    let ran = 0
    await expect(careful.run({ payload: null }, async () => void ran++)).rejects.toMatchObject({
      code: 'HOLDFAST_DATABASE',
    })
    expect(ran).toBe(0)
    const seen = await bold.run({ payload: { n: 1 }, jobRef: 'a', id: 'first' }, async (task) => {
      ran += 1
      await expect(task.release()).rejects.toMatchObject({ code: 'HOLDFAST_NOT_PROTECTED' })
      await task.confirm()
      return { protected: task.protected, fullId: task.fullId, aborted: task.signal.aborted }
    })
    expect(seen).toEqual({ protected: false, fullId: bold.fullTaskId('first'), aborted: false })
    expect(events).toEqual([
      {
        ...{ taskId: seen.fullId, queue: 'table', jobRef: 'a' },
        error: expect.objectContaining({ code: 'HOLDFAST_DATABASE' }),
      },
    ])

    // Once its lease has ended the database is not even asked.
    await until(() => bold.health().leaseRemainingMs === 0)
    const late = await bold.register({ payload: null, jobRef: 'b' })
    expect(events[1]).toMatchObject({ jobRef: 'b', error: { code: 'HOLDFAST_LEASE_EXPIRED' } })
    await late.complete()
    await expect(late.complete()).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
    const failing = bold.run({ payload: null }, async () => Promise.reject(new Error('its own error')))
    await expect(failing).rejects.toThrow('its own error')

    const kept = await bold.register({ payload: null, jobRef: 'c' })

    // What is wrong with the task itself is still refused.
    for (const wrong of [{ payload: 1n }, { payload: null, queue: 'unknown' }]) {
      await expect(bold.register(wrong)).rejects.toMatchObject({ code: /^HOLDFAST_(PAYLOAD|CONFIG)$/ })
    }

    await server.start()
    await until(() => sql`select 1`.execute(fixture.db).catch(() => undefined))
    // Nobody can know what becomes of a transaction that it is completed in, so that its own outcome counts.
    await fixture.db.transaction().execute((trx) => kept.complete({ trx }))
    expect(await bold.settle(kept)).toBe('open')
    await kept.complete()
    expect(await bold.settle(kept)).toBe('completed')
    const task = await until(async () => {
      const again = await bold.register({ payload: null })
      return again.protected ? again : undefined
    })
    await until(() => bold.health().unsettled === 0, { what: 'the inserts can no longer happen' })
    expect((await taskRows(fixture.db)).map(({ id }) => id)).toEqual([task.id])
    await task.complete()
    await bold.stop({ drain: 0 })
    expect(await enqueuedRefs(fixture.db)).toEqual([])
    await expect(bold.register({ payload: null })).rejects.toMatchObject({ code: 'HOLDFAST_STOPPED' })
  })
})

describe('a task that runs unprotected', () => {
  let fixture: Fixture
  let monitor: TaskMonitor
  beforeEach(async () => {
    fixture = await Fixture.create()
    monitor = await fixture.started({ onRegisterFailure: 'run-unprotected', maxPayloadBytes: 1_024 })
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  /** Too large to be registered. */
  const payload = 'x'.repeat(2_000)

  it('may be one that is too large to be registered, which says so', async () => {
    const events: unknown[] = []
    monitor.on('unprotected', (event) => events.push(event))
    const task = await monitor.register({ payload, jobRef: 'large' })
    expect(task.protected).toBe(false)
    expect(events).toMatchObject([{ jobRef: 'large', error: { code: 'HOLDFAST_PAYLOAD_TOO_LARGE' } }])
    await task.complete()
    const careful = await fixture.started({ maxPayloadBytes: 1_024 })
    await expect(careful.register({ payload })).rejects.toMatchObject({ code: 'HOLDFAST_PAYLOAD_TOO_LARGE' })
  })

  it('is waited for by a stop, and told when that has waited long enough', async () => {
    const [waited, left] = await Promise.all([1, 2].map(() => monitor.register({ payload })))
    expect(monitor.health().inFlight).toBe(2)
    let stopped = false
    const stopping = monitor.stop({ drain: 1_500 }).then(() => {
      stopped = true
    })
    await until(() => monitor.health().state === 'stopping')
    await waited!.complete()
    expect([stopped, left!.signal.aborted]).toEqual([false, false])
    await stopping
    expect(left!.signal.reason).toMatchObject({ code: 'HOLDFAST_STOPPED' })
    await left!.complete()
    expect(monitor.health().inFlight).toBe(0)
  })

  it('is waited for no longer once it was completed in a transaction, of which nobody can know', async () => {
    const task = await monitor.register({ payload })
    await fixture.db.transaction().execute((trx) => task.complete({ trx }))
    expect(monitor.health().inFlight).toBe(0)
    expect(await monitor.settle(task)).toBe('open')
    await monitor.stop({ drain: Number.POSITIVE_INFINITY })
  })

  it('ends a drain when it ends', async () => {
    const task = await monitor.register({ payload })
    const begun = performance.now()
    const stopping = monitor.stop({ drain: 60_000 })
    await task.complete()
    await stopping
    expect(performance.now() - begun).toBeLessThan(30_000)
  })

  it.each(['abort', 'recover', 'report'] as const)('is overdue like any other (%s)', async (onOverdue) => {
    const events: unknown[] = []
    monitor.on('taskOverdue', (event) => events.push(event))
    const options = { payload, maxRuntime: 50, onOverdue }
    const work = monitor.run(options, async (task) => {
      await until(() => events.length > 0)
      return task.signal.aborted
    })
    // There is nothing that could be recovered.
    expect(await work).toBe(onOverdue !== 'report')
    expect(events).toMatchObject([{ action: onOverdue === 'recover' ? 'abort' : onOverdue }])
  })
})
