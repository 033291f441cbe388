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
