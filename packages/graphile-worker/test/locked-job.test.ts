import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, describe, expect, it } from 'vitest'
import { Fixture, type TaskState } from './support/fixture.js'

let fixture: Fixture
afterEach(() => fixture[Symbol.asyncDispose]())

const startsOf = async (id: string): Promise<number> =>
  (await fixture.ledger('start')).filter(({ job }) => job === id).length

describe('a job that an open transaction has locked', () => {
  /** A process with three jobs, of which one will be busy. */
  async function victimOf(task: 'guarded' | 'tracked', payload: object) {
    const victim = await fixture.worker({
      concurrency: 3,
      pollInterval: 200,
      monitor: { orphanThreshold: 1_500 },
    })
    const busy = await fixture.add(task, payload, { queueName: 'serial' })
    const others = [
      await fixture.add('guarded', { gate: 'open' }),
      await fixture.add('guarded', { gate: 'open' }, { queueName: 'other' }),
    ]
    await fixture.started(3)
    const [{ processId }] = (await fixture.tasks()) as [TaskState]
    const rows = async () => (await fixture.tasks()).filter((row) => row.processId === processId)
    return { victim, busy, others, rows }
  }

  const recovered = (ids: readonly string[]): Promise<unknown> =>
    until(async () => (await Promise.all(ids.map(startsOf))).every((starts) => starts === 2), {
      what: 'the others run again',
    })

  describe.each([
    ['in one transaction', false],
    ['in two phases', true],
  ])('of a dead process (recovered %s)', (_, monitorInMySql) => {
    it.each([
      ['rolls back', 2, 1],
      ['commits the end of it', 1, monitorInMySql ? 1 : 0],
    ])('keeps no other from recovery, nor is it lost: that %s', async (end, starts, crashes) => {
      fixture = await Fixture.create({ monitorInMySql })
      const { victim, busy, others, rows } = await victimOf('guarded', { gate: 'open' })
      const rolledBack = new Error('rolled back')
      const locking = fixture.db.transaction().execute(async (trx) => {
        await sql`delete from graphile_worker._private_jobs where id = ${busy}::bigint`.execute(trx)
        await victim.kill()
        await fixture.worker({ pollInterval: 200 })
        await recovered(others)
        const guard = await until(async () => (await rows()).find(({ lastError }) => lastError !== null))
        expect(guard).toMatchObject({
          kind: 'guard',
          lastError: expect.stringContaining(`Job ${busy} is locked`),
        })
        expect(await fixture.lockedQueues()).toContain('serial')
        if (end === 'rolls back') throw rolledBack
        await sql`update graphile_worker._private_job_queues set locked_by = null, locked_at = null
          where queue_name = 'serial'`.execute(trx)
      })
      await locking.catch((error) => expect(error).toBe(rolledBack))
      await until(async () => (await rows()).length === 0, { what: 'its pool’s row goes' })
      await fixture.openGate('open')
      await until(async () => (await fixture.jobs()).length === 0)
      expect(await Promise.all([busy, ...others].map(startsOf))).toEqual([starts, 2, 2])
      const counts = new Map((await fixture.crashes()).map(({ jobRef, count }) => [jobRef, count]))
      expect([busy, ...others].map((id) => counts.get(id) ?? 0)).toEqual([crashes, 1, 1])
      expect(await fixture.lockedQueues()).toEqual([])
    })
  })

  it('of which it has the queue alone is recovered like the others, and its queue later', async () => {
    fixture = await Fixture.create()
    const { victim, busy, others, rows } = await victimOf('guarded', { gate: 'open' })
    await fixture.db.transaction().execute(async (trx) => {
      await sql`select from graphile_worker._private_job_queues where queue_name = 'serial' for update`.execute(
        trx,
      )
      await victim.kill()
      await fixture.worker({ pollInterval: 200 })
      await recovered(others)
      await until(async () => (await rows()).length === 0)
      expect((await fixture.jobs()).find(({ id }) => id === busy)).toMatchObject({
        lockedBy: null,
        attempts: 1,
      })
    })
  })

  it.each([
    ['commit', 1],
    ['rollback', 2],
  ] as const)(
    'as its handler completes its task in that, in a paused process, keeps no other from recovery (%s)',
    async (end, starts) => {
      fixture = await Fixture.create()
      const { victim, busy, others, rows } = await victimOf('tracked', { steps: ['leaveOpen'] })
      const completing = sql`select from graphile_worker._private_jobs where id = ${busy}::bigint for update skip locked`
      await until(async () => (await completing.execute(fixture.db)).rows.length === 0)
      victim.pause()
      await fixture.worker({ pollInterval: 200 })
      await recovered(others)
      expect(await startsOf(busy)).toBe(1)
      expect((await rows()).map(({ kind }) => kind)).toContain('started')
      await fixture.openGate(end)
      victim.resume()
      await until(async () => (await rows()).length === 0)
      await until(async () => (await startsOf(busy)) === starts)
      await fixture.openGate('open')
      await until(async () => (await fixture.jobs()).length === 0)
      expect(await startsOf(busy)).toBe(starts)
      expect(await fixture.ledger('effect')).toHaveLength(end === 'commit' ? 1 : 0)
      expect((await fixture.crashes()).filter(({ jobRef }) => jobRef === busy)).toEqual(
        end === 'commit' ? [] : [{ jobRef: busy, count: 1 }],
      )
      expect(await fixture.lockedQueues()).toEqual([])
    },
  )
})
