import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('a job that kills its process', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  /** Workers, one after the other, until the job is in quarantine. Answers how many it killed. */
  async function supervise(settings: object): Promise<number> {
    for (let deaths = 0; ; deaths++) {
      const worker = await fixture.worker({ settings, monitor: { recoveryBackoff: 50 } })
      const quarantined = async () => (await fixture.quarantine()).length > 0
      await until(async () => worker.process.signalCode !== null || (await quarantined()))
      if (worker.process.signalCode === null) return deaths
    }
  }

  // bee-queue's own check would give it to the next worker within a lease, and so past the crash count.
  it('runs maxRecoveries times again, then stands failed and in quarantine', async () => {
    const job = await fixture.add({ kill: true }, (job) => job.retries(7))
    const failed = new Promise<Error>((resolve) => job.on('failed', resolve as never))
    expect(await supervise({ stallInterval: 300 })).toBe(4)
    const reason = 'in flight in 4 crashes, more than maxRecoveries (3)'
    expect((await failed).message).toContain('4')
    const [entry] = await fixture.quarantine()
    expect(entry!.reason).toBe((await failed).message)
    expect(entry!.reason, reason).toMatch(/maxRecoveries/)
    expect(await fixture.holds()).toMatchObject({
      waiting: [],
      active: [],
      succeeded: [],
      failed: [job.id],
    })
    const stored = JSON.parse(await fixture.command('hget', 'jobs', job.id))
    expect(stored).toMatchObject({ status: 'failed', data: { kill: true }, options: { retries: 7 } })
    expect(stored.options.stacktraces[0]).toBe(entry!.reason)
    expect(fixture.ledger.entries('start')).toHaveLength(4)
  })

  it('is counted also when nobody was there for so long that Redis has forgotten its process', async () => {
    await fixture.add({ kill: true })
    // Its own check gives the job to each new worker long before that may judge the last one.
    const settings = { stallInterval: 100 }
    const monitor = { heartbeatInterval: 500, orphanThreshold: 2_000, recoveryBackoff: 50, maxRecoveries: 1 }
    for (const deaths of [1, 2]) {
      const worker = await fixture.worker({ settings, monitor })
      await worker.exited
      expect(fixture.ledger.entries('start')).toHaveLength(deaths)
      await until(async () => (await fixture.command<string[]>('keys', 'holdfast:alive:*')).length === 0)
    }
    await fixture.worker({ settings, monitor })
    await until(async () => (await fixture.quarantine()).length > 0)
    expect(fixture.ledger.entries('start')).toHaveLength(2)
  })

  it('does not take its neighbours along more than twice, and they all succeed', async () => {
    const killer = await fixture.add({ kill: true })
    const innocents: string[] = []
    for (let n = 0; n < 12; n++) innocents.push((await fixture.add()).id)
    await supervise({ stallInterval: 300 })
    await fixture.succeeded(12)
    expect((await fixture.holds()).failed).toEqual([killer.id])
    expect((await fixture.holds()).succeeded).toEqual(innocents.sort())
    for (const id of innocents) expect(fixture.ledger.entries('start', id).length).toBeLessThanOrEqual(3)
  })
})
