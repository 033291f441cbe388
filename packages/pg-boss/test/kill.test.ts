import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isTen } from './support/boss.js'
import { Fixture } from './support/fixture.js'

describe('a worker process that is killed', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it.each(['track', 'handOff'] as const)('has its jobs run again, each exactly once (%s)', async (way) => {
    const victim = await fixture.worker({ way })
    const jobs: string[] = []
    for (let n = 0; n < 4; n++) jobs.push(await fixture.add({ gate: 'open' }))
    await fixture.started(4)
    const survivor = await fixture.worker({ way })
    await victim.kill()
    await fixture.started(8)
    await fixture.openGate('open')
    await fixture.finished(4)
    await fixture.inState('completed', 4)
    await fixture.settled()
    const starts = await fixture.ledger('start')
    expect(
      starts
        .filter(({ pid }) => pid === survivor.pid)
        .map(({ job }) => job)
        .sort(),
    ).toEqual(jobs.sort())
    expect(await fixture.ledger('finish')).toHaveLength(4)
    for (const job of await fixture.jobs()) expect(job).toMatchObject({ retry_count: 1, retry_limit: 2 })
  })

  it.runIf(!isTen)('has workers woken that poll but rarely (notified, as 12 can be)', async () => {
    await using notified = await Fixture.create({ queue: { notify: true } })
    const options = {
      boss: { useListenNotify: true },
      work: { pollingIntervalSeconds: 60, notifyPollingIntervalSeconds: 60 },
    }
    const victim = await notified.worker(options)
    await notified.add({ gate: 'open' })
    await notified.started(1)
    await notified.worker(options)
    await victim.kill()
    await notified.started(2)
  })

  it.each([
    { way: 'track', own: 'refundOnce', finder: 'fail' },
    { way: 'track', own: 'fail', finder: 'refundOnce' },
    { way: 'handOff', own: 'refundOnce', finder: 'fail' },
    { way: 'handOff', own: 'fail', finder: 'refundOnce' },
  ] as const)(
    'has its last attempts end as it says itself ($own, $way), whoever finds it dead',
    async ({ way, own, finder }) => {
      const victim = await fixture.worker({ way, adapter: { onExhausted: own } })
      await fixture.add({ gate: 'open' }, { retryLimit: 0 })
      await fixture.started(1)
      await fixture.worker({ way, adapter: { onExhausted: finder } })
      await victim.kill()
      if (own === 'fail') {
        await fixture.inState('failed', 1)
        return expect(await fixture.ledger('start')).toHaveLength(1)
      }
      await fixture.started(2)
      await fixture.openGate('open')
      await fixture.inState('completed', 1)
    },
  )

  it('without Holdfast would have kept them active', async () => {
    const victim = await fixture.worker({ way: 'plain' })
    await fixture.add({ gate: 'open' })
    await fixture.started(1)
    await fixture.worker({ way: 'plain' })
    await victim.kill()
    await fixture.add()
    await fixture.finished(1)
    await until(async () => (await fixture.jobs()).some(({ state }) => state === 'completed'))
    expect((await fixture.jobs()).map(({ state }) => state).sort()).toEqual(['active', 'completed'])
  })
})
