import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

/** BullMQ takes a job for stalled as fast as it can. */
const HASTY = { lockDuration: 400, stalledInterval: 100, maxStalledCount: 0 }

/** The lease is so long that BullMQ's stalled check is always first. */
const SLOW = { heartbeatInterval: 500, orphanThreshold: 3_000 }

describe('BullMQ’s stalled check', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const stalls = async (id: string): Promise<number> => Number((await fixture.hash(id)).stc ?? 0)

  it('that is faster than the sweep has a killed job run once, which is one crash (bullmq#651, #892, #3282)', async () => {
    // The limit of stalls would fail the job, whatever attempts it has.
    const settings = { ...HASTY, maxStalledCount: 1 }
    const victim = await fixture.worker({ settings, monitor: SLOW })
    const job = await fixture.add({ gate: 'open' }, { attempts: 5 })
    await fixture.started(1)
    const survivor = await fixture.worker({ settings, monitor: SLOW })
    await victim.kill()
    await until(async () => (await stalls(job.id)) > 0)
    await fixture.started(2)
    fixture.ledger.openGate('open')
    await fixture.completed(1)
    await fixture.settled()
    expect(fixture.ledger.entries('start').map(({ pid }) => pid)).toEqual([victim.pid, survivor.pid])
    await expect.poll(() => fixture.crashes()).toEqual([1])
    await expect.poll(() => fixture.outcomes()).toEqual(['requeued'])
    expect(await fixture.hash(job.id)).toMatchObject({ atm: '1', stc: '1' })
  })

  it('that has failed a killed job for stalling gives way to Holdfast’s own count of crashes', async () => {
    const victim = await fixture.worker({ settings: HASTY, monitor: SLOW })
    const job = await fixture.add({ gate: 'open' }, { attempts: 5 })
    await fixture.started(1)
    await fixture.worker({ settings: HASTY, monitor: SLOW })
    await victim.kill()
    await until(async () => (await fixture.places()).failed.includes(job.id))
    await fixture.started(2)
    fixture.ledger.openGate('open')
    await fixture.completed(1)
    await fixture.settled()
    const hash = await fixture.hash(job.id)
    expect(hash).toMatchObject({ atm: '1' })
    expect(hash).not.toHaveProperty('failedReason')
    await expect.poll(() => fixture.crashes()).toEqual([1])
  })

  it('takes no job from a process that lives, though its event loop was blocked for longer than its lock', async () => {
    const settings = { ...HASTY, maxStalledCount: 50 }
    const monitor = { orphanThreshold: 20_000, heartbeatInterval: 500 }
    const blocked = await fixture.worker({ settings, monitor })
    const job = await fixture.add({ blockUntil: 'open', result: 1 })
    await fixture.started(1)
    await fixture.worker({ settings, monitor })
    await until(async () => (await stalls(job.id)) > 0)
    // The other worker has fetched it, and put it back.
    await until(async () => Number((await fixture.hash(job.id)).ats) > 1)
    fixture.ledger.openGate('open')
    await fixture.completed(1)
    await fixture.settled()
    expect(fixture.ledger.entries('start').map(({ pid }) => pid)).toEqual([blocked.pid])
    expect(fixture.ledger.entries('completed')).toMatchObject([{ pid: blocked.pid, detail: 1 }])
    expect(await fixture.crashes()).toEqual([])
  })

  it('that is off leaves no job active for ever (bullmq#2580, bull#1766)', async () => {
    const settings = { lockDuration: 200, skipStalledCheck: true }
    const victim = await fixture.worker({ settings })
    const job = await fixture.add({ gate: 'open' })
    await fixture.started(1)
    await victim.kill()
    await until(async () => (await fixture.client.exists(`${fixture.keys}${job.id}:lock`)) === 0)
    await fixture.worker({ settings })
    fixture.ledger.openGate('open')
    await fixture.completed(1)
    await fixture.settled()
    await expect.poll(() => fixture.outcomes()).toEqual(['requeued'])
  })

  it('never fails a job for good that deploys kill again and again', async () => {
    const settings = { maxStalledCount: 0 }
    const monitor = { maxRecoveries: 10, recoveryBackoff: 50 }
    const job = await fixture.add({ gate: 'open' })
    for (let deploy = 1; deploy <= 3; deploy++) {
      const victim = await fixture.worker({ settings, monitor })
      await fixture.started(deploy)
      await victim.kill()
    }
    await fixture.worker({ settings, monitor })
    fixture.ledger.openGate('open')
    await fixture.completed(1)
    await fixture.settled()
    expect(fixture.ledger.entries('start', job.id)).toHaveLength(4)
    expect(await fixture.hash(job.id)).toMatchObject({ atm: '1' })
    expect(await stalls(job.id)).toBe(0)
    await expect.poll(() => fixture.crashes()).toEqual([3])
  })
})
