import type { Child } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

const isAwake = (zombie: Child): Promise<unknown> => zombie.message('evicted')

/** Of a process that is to be taken for dead, though it was not killed. */
const MORTAL = { orphanThreshold: 1_500 }

describe('a worker that stands still for longer than its lease', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it.each(['track', 'handOff'] as const)('can end nothing on waking: others run it (%s)', async (way) => {
    const zombie = await fixture.worker({ way, monitor: MORTAL })
    const good = await fixture.add({ gate: 'good', deaf: true, result: 'by whom' })
    const bad = await fixture.add({ gate: 'bad', deaf: true, fail: 'broken' }, { retryLimit: 1 })
    await fixture.started(2)
    const survivor = await fixture.worker({ way })
    zombie.pause()
    await fixture.started(4)
    zombie.resume()
    await isAwake(zombie)
    // Both runs of a job end at once, so that either may be first.
    await fixture.openGate('good')
    await fixture.openGate('bad')
    await fixture.finished(2)
    await fixture.settled()
    await fixture.inState('completed', 1)
    await fixture.inState('failed', 1)
    expect(await fixture.job(good)).toMatchObject({ state: 'completed', retry_count: 1 })
    expect(await fixture.job(bad)).toMatchObject({ state: 'failed', retry_count: 1 })
    const starts = await fixture.ledger('start')
    expect(starts.map(({ pid }) => pid)).toEqual([zombie.pid, zombie.pid, survivor.pid, survivor.pid])
  })

  it('in a batch: what is not its own any more is left alone, the rest of it ends', async () => {
    // Before there is a worker, which would take what is there by then.
    for (let n = 0; n < 3; n++) await fixture.add({ gate: 'open', deaf: true })
    const zombie = await fixture.worker({ workers: 1, work: { batchSize: 3 }, monitor: MORTAL })
    await fixture.started(3)
    zombie.pause()
    const survivor = await fixture.worker({ workers: 3 })
    await fixture.started(6)
    zombie.resume()
    await isAwake(zombie)
    await fixture.openGate('open')
    await fixture.inState('completed', 3)
    await fixture.settled()
    expect((await fixture.ledger('start')).slice(3).map(({ pid }) => pid)).toEqual(
      Array(3).fill(survivor.pid),
    )
    for (const job of await fixture.jobs()) expect(job).toMatchObject({ retry_count: 1 })
  })
})
