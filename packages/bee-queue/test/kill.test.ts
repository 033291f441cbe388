import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('a worker process that is killed', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('has its jobs run again, each exactly once, also where handlers call back', async () => {
    const way = 'callback'
    const victim = await fixture.worker({ way })
    for (let n = 0; n < 10; n++) await fixture.add({ gate: 'open', result: n })
    await fixture.started(10)
    const survivor = await fixture.worker({ way })
    await victim.kill()
    await fixture.started(20)
    fixture.ledger.openGate('open')
    await fixture.succeeded(10)
    await fixture.settled()
    const starts = fixture.ledger.entries('start')
    expect(starts.filter(({ pid }) => pid === victim.pid)).toHaveLength(10)
    expect(starts.filter(({ pid }) => pid === survivor.pid)).toHaveLength(10)
    expect(fixture.ledger.entries('finish')).toHaveLength(10)
    expect((await fixture.recoveries()).map(({ outcome }) => outcome)).toEqual(Array(10).fill('requeued'))
    expect((await fixture.crashes()).map(({ count }) => Number(count))).toEqual(Array(10).fill(1))
    await expect.poll(() => fixture.command('hlen', 'holdfast:owners')).toBe(0)
  })

  it('has what the producer waits for delivered by the next worker', async () => {
    const victim = await fixture.worker()
    const job = await fixture.add({ gate: 'open', result: { answer: 42 } }, (job) => job.retries(2))
    const succeeded = new Promise((resolve) => job.on('succeeded', resolve as never))
    await fixture.started(1)
    await fixture.worker()
    await victim.kill()
    await fixture.started(2)
    fixture.ledger.openGate('open')
    expect(await succeeded).toEqual({ answer: 42 })
    expect(
      fixture.ledger.entries('start').map(({ detail }) => (detail as { retries: number }).retries),
    ).toEqual([2, 2])
  })

  it('without Holdfast would have kept them', async () => {
    const victim = await fixture.worker({ way: 'plain' })
    await fixture.add({ gate: 'open' })
    await fixture.started(1)
    await fixture.worker({ way: 'plain' })
    await victim.kill()
    const proof = await fixture.add()
    await until(() => fixture.ledger.entries('finish', proof.id).length === 1)
    await until(async () => (await fixture.holds()).active.length === 1, {
      what: 'only the victim’s job is left',
    })
    expect((await fixture.holds()).active).toHaveLength(1)
  })
})
