import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('a job that is handed off', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  /** The job itself hears no more once it has succeeded; its queue does. */
  const failureOf = ({ id }: { id: string }): Promise<string> =>
    new Promise((resolve) => {
      fixture.queue.on('job failed', ((failed: string, error: Error) => {
        if (failed === id) resolve(error.message)
      }) as never)
    })

  it('waits for a place, and keeps its worker waiting', async () => {
    // Which jobs have a place is counted on here.
    const monitor = { orphanThreshold: 60_000, gcLockTtl: 30_000 }
    const settings = { stallInterval: 60_000 }
    await fixture.worker({ way: 'handOff', concurrency: 2, handOffConcurrency: 3, monitor, settings })
    for (let n = 0; n < 9; n++) await fixture.add({ gate: `gate ${n}` })
    await fixture.started(3)
    await until(async () => (await fixture.holds()).active.length === 2)
    expect(await fixture.holds()).toMatchObject({ waiting: expect.objectContaining({ length: 4 }) })
    for (let n = 0; n < 9; n++) {
      await fixture.started(Math.min(9, n + 3))
      expect(fixture.ledger.entries('start').length - n).toBeLessThanOrEqual(3)
      fixture.ledger.openGate(`gate ${n}`)
      await until(() => fixture.ledger.entries('finish').length === n + 1)
    }
    await fixture.settled()
  })

  it('that waits for a place is given back when its process stops', async () => {
    const leaver = await fixture.worker({
      way: 'handOff',
      concurrency: 4,
      handOffConcurrency: 1,
      settings: { stallInterval: 60_000 },
    })
    for (let n = 0; n < 6; n++) await fixture.add({ gate: 'open' })
    await until(async () => (await fixture.holds()).active.length === 4)
    leaver.send('stop')
    await leaver.message('stopped')
    expect(await fixture.holds()).toMatchObject({
      active: [],
      succeeded: [],
      waiting: expect.objectContaining({ length: 6 }),
    })
    expect(await fixture.tasks()).toEqual([])
  })

  it('that fails is retried by its own retries and backoff, and then stands failed', async () => {
    await fixture.worker({ way: 'handOff', settings: { activateDelayedJobs: true, delayedDebounce: 10 } })
    const good = await fixture.add({ failFirst: 2 }, (job) => job.retries(3).backoff('exponential', 40))
    const bad = await fixture.add({ fail: 'on purpose' }, (job) => job.retries(1))
    expect(await failureOf(bad)).toBe('on purpose')
    await until(() => fixture.ledger.entries('finish', good.id).length === 1)
    await fixture.settled()
    expect(fixture.ledger.entries('start', good.id)).toHaveLength(3)
    expect(fixture.ledger.entries('start', bad.id)).toHaveLength(2)
    expect(await fixture.holds()).toMatchObject({ succeeded: [good.id], failed: [bad.id] })
    const stored = JSON.parse(await fixture.command('hget', 'jobs', bad.id))
    expect(stored).toMatchObject({ status: 'failed', options: { retries: 0 } })
    expect(stored.options.stacktraces).toHaveLength(2)
    const again = JSON.parse(await fixture.command('hget', 'jobs', good.id))
    expect(again.options).toMatchObject({ retries: 1, backoff: { strategy: 'exponential', delay: 160 } })
    // As bee-queue tells them.
    expect(fixture.ledger.entries('retrying', good.id)).toHaveLength(2)
    expect(await fixture.quarantine()).toEqual([])
  })

  it('for longer than its timeout has failed, and is told', async () => {
    const worker = await fixture.worker({ way: 'handOff' })
    const job = await fixture.add({ gate: 'never' }, (job) => job.timeout(200))
    expect(await failureOf(job)).toContain('maxRuntime')
    await worker.message('taskOverdue')
    await until(() => fixture.ledger.entries('aborted').length === 1)
    await fixture.settled()
    expect((await fixture.holds()).failed).toEqual([job.id])
  })
})
