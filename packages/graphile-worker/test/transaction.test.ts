import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe.each(['tracked', 'handed'] as const)(
  'a job that completes its task in a transaction (%s)',
  (task) => {
    let fixture: Fixture
    beforeEach(async () => {
      fixture = await Fixture.create()
    })
    afterEach(() => fixture[Symbol.asyncDispose]())

    const starts = async (): Promise<number[]> =>
      (await fixture.ledger('start')).map(({ attempts }) => attempts)

    /** No job, no lock and no row is left, and all four places are free. */
    const nothingIsLeft = async (): Promise<void> => {
      await until(async () => (await fixture.jobs()).length === 0)
      await until(async () => (await fixture.tasks()).every(({ kind }) => kind === 'guard'))
      expect(await fixture.lockedQueues()).toEqual([])
      const before = (await fixture.ledger('start')).length
      for (let n = 0; n < 4; n++) await fixture.add(task, { gate: 'proof' })
      await fixture.started(before + 4)
      await fixture.openGate('proof')
      await until(async () => (await fixture.jobs()).length === 0)
      await until(async () => (await fixture.tasks()).every(({ kind }) => kind === 'guard'))
    }

    // Their leases are long: a job that is cut short keeps its attempt.
    const worker = () =>
      fixture.worker({
        ...{ concurrency: 4, handOffConcurrency: 4, pollInterval: 200 },
        monitor: { orphanThreshold: 60_000 },
      })

    it.each([
      ['rolls back', ['rollback', 'throw']],
      ['fails to commit', ['failCommit', 'throw']],
      ['rolls back twice', ['rollback', 'rollback', 'throw']],
    ])('which %s, and then throws, is tried again as after any failure', async (_, steps) => {
      await worker()
      for (let n = 0; n < 4; n++) await fixture.add(task, { steps }, { queueName: `q${n}` })
      await fixture.finished(4)
      expect((await starts()).sort()).toEqual([1, 1, 1, 1, 2, 2, 2, 2])
      expect(await fixture.ledger('effect')).toEqual([])
      expect(await fixture.crashes()).toEqual([])
      await nothingIsLeft()
    })

    it('on its last attempt which rolls back, and then throws, has failed', async () => {
      await worker()
      await fixture.add(task, { steps: ['rollback', 'throw'] }, { maxAttempts: 1 })
      await until(async () => (await fixture.jobs()).some(({ lastError }) => lastError === 'no luck'))
      expect(await fixture.jobs()).toMatchObject([{ attempts: 1, lockedBy: null, available: false }])
      await until(async () => (await fixture.tasks()).every(({ kind }) => kind === 'guard'))
    })

    it.each([[['rollback']], [['failCommit']], [['rollback', 'complete']]])(
      'which comes to nothing (%j), and then returns, has succeeded as its handler says',
      async (steps) => {
        await worker()
        await fixture.add(task, { steps }, { queueName: 'serial' })
        await fixture.finished(1)
        await until(async () => (await fixture.jobs()).length === 0)
        expect(await starts()).toEqual([1])
        expect(await fixture.ledger('effect')).toEqual([])
        await nothingIsLeft()
      },
    )

    it.each([
      [['commit'], 1],
      [['commit', 'throw'], 1],
      [['rollback', 'commit'], 1],
      [['rollback', 'commit', 'throw'], 1],
      [['rollback', 'complete', 'throw'], 0],
    ])('which is ended in the end (%j) stays ended', async (steps, effects) => {
      await worker()
      await fixture.add(task, { steps }, { queueName: 'serial' })
      await fixture.started(1)
      await until(async () => (await fixture.jobs()).length === 0)
      await nothingIsLeft()
      expect(await starts()).toEqual([1, 1, 1, 1, 1])
      expect(await fixture.ledger('effect')).toHaveLength(effects)
    })

    it('which rolls back, and gives itself back then, runs again with its attempt', async () => {
      await worker()
      await fixture.add(task, { steps: ['rollback', 'release'], gate: 'open' })
      await until(async () => (await fixture.ledger('start')).length > 1)
      expect((await starts())[1]).toBe(1)
      expect(await fixture.ledger('effect')).toEqual([])
    })

    it.each([
      ['commit', 'return', [1]],
      ['commit', 'throw', [1]],
      ['rollback', 'return', [1]],
      ['rollback', 'throw', [1, 2]],
    ])('which is open when its handler ends waits for it (%s, then %s)', async (end, handler, attempts) => {
      await worker()
      const steps = handler === 'throw' ? ['leaveOpen', 'throw'] : ['leaveOpen']
      await fixture.add(task, { steps }, { queueName: 'serial' })
      await fixture.started(1)
      if (handler === 'return') await fixture.finished(1)
      // The other places go on meanwhile.
      for (let n = 0; n < 3; n++) await fixture.add(task, {})
      await fixture.started(4)
      await fixture.openGate(end)
      await fixture.started(3 + attempts.length)
      await until(async () => (await fixture.jobs()).length === 0)
      await until(async () => (await fixture.tasks()).every(({ kind }) => kind === 'guard'))
      expect((await starts()).sort()).toEqual([1, 1, 1, ...attempts])
      expect(await fixture.ledger('effect')).toHaveLength(end === 'commit' ? 1 : 0)
      await nothingIsLeft()
    })
  },
)

describe('a tracked job at which a person has been', () => {
  it.each([
    ['throws', ['throw']],
    ['rolls back and throws', ['rollback', 'throw']],
  ])('and that %s, its row deleted, keeps no place: it has failed', async (_, steps) => {
    await using fixture = await Fixture.create()
    await fixture.worker({ concurrency: 1, pollInterval: 200, monitor: { orphanThreshold: 60_000 } })
    await sql`create function forget() returns trigger language plpgsql as
      'begin delete from public.holdfast_tasks where job_ref is not null; return new; end'`.execute(
      fixture.db,
    )
    await sql`create trigger forget after insert on ledger for each row when (new.what = 'start' and new.attempts = 1)
      execute function forget()`.execute(fixture.db)
    await fixture.add('tracked', { steps }, { maxAttempts: 2 })
    await until(async () => (await fixture.jobs()).some(({ lastError }) => lastError !== null))
    expect(await fixture.jobs()).toMatchObject([{ attempts: 1, lockedBy: null }])
    await fixture.hurry()
    await fixture.finished(1)
    await until(async () => (await fixture.jobs()).length === 0)
  })

  it('and whose lock was changed keeps no place, either: it is tried again', async () => {
    await using fixture = await Fixture.create()
    await fixture.worker({ concurrency: 1, pollInterval: 200, monitor: { orphanThreshold: 60_000 } })
    const id = await fixture.add('tracked', { gate: 'open' })
    await fixture.started(1)
    await sql`update graphile_worker._private_jobs set locked_at = locked_at + interval '1.5 seconds'`.execute(
      fixture.db,
    )
    await fixture.openGate('open')
    await until(async () =>
      (await fixture.jobs()).some(({ lastError }) => lastError?.includes('no longer locked')),
    )
    expect(await fixture.jobs()).toMatchObject([{ id, attempts: 1, lockedBy: null }])
    await fixture.hurry()
    await fixture.finished(2)
    await until(async () => (await fixture.jobs()).length === 0)
  })

  it('and that returns, its row deleted, has succeeded', async () => {
    await using fixture = await Fixture.create()
    await fixture.worker({ concurrency: 1 })
    await fixture.add('tracked', { gate: 'open' })
    await fixture.started(1)
    await sql`delete from holdfast_tasks where job_ref is not null`.execute(fixture.db)
    await fixture.openGate('open')
    await fixture.finished(1)
    await until(async () => (await fixture.jobs()).length === 0)
    await fixture.add('tracked')
    await fixture.finished(2)
  })
})
