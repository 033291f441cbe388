import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('a worker process paused for longer than its lease', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('is recovered; on waking it can end none of its jobs, its runner stops, and its named queue goes on', async () => {
    const zombie = await fixture.worker()
    const serial = await fixture.add('guarded', { gate: 'open' }, { queueName: 'serial' })
    await fixture.add('guarded', { gate: 'open' })
    await fixture.add('handed', { gate: 'open' })
    await fixture.started(3)
    await until(async () => (await fixture.jobs()).length === 2)
    const survivor = await fixture.worker()
    zombie.pause()
    await fixture.started(6)
    zombie.resume()
    await zombie.message('evicted')
    // Both now wait at the same gate: the zombie's handlers end while the survivor's still run or end too.
    await fixture.openGate('open')
    await zombie.message('runnerEnded')
    await until(async () => (await fixture.jobs()).length === 0)

    const bySurvivor = (await fixture.ledger('finish')).filter(({ pid }) => pid === survivor.pid)
    expect(bySurvivor).toHaveLength(3)
    expect(bySurvivor.some(({ job }) => job === serial)).toBe(true)
    expect(await fixture.lockedQueues()).toEqual([])
    const next = await fixture.add('guarded', {}, { queueName: 'serial' })
    await until(async () => (await fixture.ledger('finish')).some(({ job }) => job === next))
  })

  it('whose handler ends while another runs the job does not take it away from the other', async () => {
    const zombie = await fixture.worker()
    const job = await fixture.add('guarded', { gate: 'first' }, { queueName: 'serial' })
    await fixture.started(1)
    const survivor = await fixture.worker()
    zombie.pause()
    await fixture.started(2)
    zombie.resume()
    await zombie.message('evicted')
    await survivor.kill()
    // A third one takes over; the zombie's late end must leave the row to it.
    const third = await fixture.worker({ pollInterval: 500 })
    await fixture.started(3)
    await fixture.openGate('first')
    await until(async () => (await fixture.jobs()).length === 0)
    const finishes = await fixture.ledger('finish')
    expect(finishes.filter(({ pid }) => pid === third.pid)).toEqual([expect.objectContaining({ job })])
    expect(await fixture.lockedQueues()).toEqual([])
  })
})
