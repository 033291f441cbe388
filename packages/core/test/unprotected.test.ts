import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
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
    expect(await bold.settle(kept)).toBe('ended')
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
