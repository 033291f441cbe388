import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('a job whose process dies on its last attempt', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const lastErrors = async (): Promise<(string | null)[]> =>
    (await fixture.jobs()).map(({ lastError }) => lastError)
  const reason = (max: number): string =>
    `Worker process died while running this job, on its last attempt (${max} of ${max})`

  it.each(['guarded', 'tracked', 'handed'] as const)(
    'gets it back once where onExhausted says so (%s), visibly; then it stands failed',
    async (task) => {
      const options = { adapter: { onExhausted: 'refundOnce' }, pollInterval: 300 } as const
      let worker = await fixture.worker(options)
      await fixture.add(task, { gate: 'open' }, { maxAttempts: 1, jobKey: 'k' })
      for (let run = 1; run <= 2; run++) {
        await fixture.started(run)
        if (task === 'handed') await until(async () => (await fixture.jobs()).length === 0)
        else if (run === 2) expect(await lastErrors()).toEqual([`Given one more attempt: ${reason(1)}`])
        const next = await fixture.worker(options)
        await worker.kill()
        worker = next
      }
      await until(async () => (await lastErrors()).includes(reason(1)))
      expect(await fixture.jobs()).toEqual([
        expect.objectContaining({ attempts: 1, maxAttempts: 1, available: false, lockedBy: null, key: 'k' }),
      ])
      expect(await fixture.quarantine()).toEqual([expect.objectContaining({ reason: reason(1) })])
      expect(await fixture.ledger('start')).toHaveLength(2)
    },
  )

  it.each([
    ['guarded', 'refundOnce', 'fail'],
    ['guarded', 'fail', 'refundOnce'],
    ['tracked', 'refundOnce', 'fail'],
    ['tracked', 'fail', 'refundOnce'],
    ['handed', 'refundOnce', 'fail'],
    ['handed', 'fail', 'refundOnce'],
  ] as const)(
    'becomes what that process had for it (%s: %s), whoever finds it dead',
    async (task, own, finder) => {
      const other = task === 'guarded' ? { tasks: { named: { onExhausted: finder } } } : {}
      const victim = await fixture.worker({ adapter: { onExhausted: own, ...other } })
      await fixture.add(task, { gate: 'open' }, { maxAttempts: 1 })
      if (task === 'guarded') await fixture.add('named', { gate: 'open' }, { maxAttempts: 1 })
      const count = task === 'guarded' ? 2 : 1
      await fixture.started(count)
      if (task === 'handed') await until(async () => (await fixture.jobs()).length === 0)
      await fixture.worker({ adapter: { onExhausted: finder, tasks: { named: { onExhausted: own } } } })
      await victim.kill()
      // Of those two under guard one runs again: each goes by its own task's.
      const again = task === 'guarded' || own === 'refundOnce' ? 1 : 0
      await until(async () => (await fixture.quarantine()).length === count - again)
      await fixture.started(count + again)
      await fixture.openGate('open')
      await fixture.finished(again)
      const expected = { named: finder, [task]: own }
      const starts = await fixture.ledger('start')
      expect(starts).toHaveLength(count + again)
      await until(async () => (await fixture.jobs()).length === count - again)
      for (const { identifier } of await fixture.jobs()) {
        expect(expected[identifier as 'named']).toBe('fail')
      }
    },
  )

  it('is told by an event when it stands failed', async () => {
    const victim = await fixture.worker()
    const id = await fixture.add('guarded', { gate: 'never' }, { maxAttempts: 1 })
    await fixture.started(1)
    const survivor = await fixture.worker()
    await victim.kill()
    expect(await survivor.message('quarantined')).toMatchObject({ jobRef: id, reason: reason(1) })
  })

  it('is decided by task, whatever holds for the others', async () => {
    const options = {
      adapter: { onExhausted: 'refundOnce', tasks: { named: { onExhausted: 'fail' } } },
    } as const
    const victim = await fixture.worker(options)
    await fixture.add('named', { gate: 'open' }, { maxAttempts: 1 })
    await fixture.add('guarded', { gate: 'open' }, { maxAttempts: 1 })
    await fixture.started(2)
    await fixture.worker(options)
    await victim.kill()
    await fixture.started(3)
    await fixture.openGate('open')
    await fixture.finished(1)
    expect((await fixture.ledger('finish')).map(({ attempts }) => attempts)).toEqual([1])
    await until(async () => (await fixture.jobs()).length === 1)
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({ identifier: 'named', available: false, lastError: reason(1) }),
    ])
  })

  it('eaten up by three deploys that killed it has its reason in the end', async () => {
    const options = { monitor: { maxRecoveries: 10, recoveryBackoff: 1 }, pollInterval: 100 }
    let worker = await fixture.worker(options)
    await fixture.add('guarded', { gate: 'never' }, { maxAttempts: 3 })
    for (let run = 1; run <= 3; run++) {
      await fixture.started(run)
      const next = await fixture.worker(options)
      await worker.kill()
      worker = next
    }
    await until(async () => (await lastErrors()).includes(reason(3)))
    expect((await fixture.ledger('start')).map(({ attempts }) => attempts)).toEqual([1, 2, 3])
  })
})
