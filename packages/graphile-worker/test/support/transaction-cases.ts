import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './fixture.js'

/** What becomes of a job of this task that its handler completes in a transaction, however that ends. */
export function transactionCases(task: 'tracked' | 'handed'): void {
  describe(`a job that completes its task in a transaction (${task})`, () => {
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
      await fixture.add(task, { steps: ['rollback', 'release'] })
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
  })
}
