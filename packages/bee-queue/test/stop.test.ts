import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('a worker process that stops', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it.each(['track', 'handOff'] as const)(
    'hands over at once what has not ended, which is no crash (%s)',
    async (way) => {
      // A lease so long that only handing over can be what makes the jobs run again; and no stall check helps.
      const monitor = {
        heartbeatInterval: 10_000,
        orphanThreshold: 60_000,
        sweepInterval: 60_000,
        gcLockTtl: 60_000,
      }
      const options = { way, monitor, drain: 300, settings: { stallInterval: 60_000 } }
      const leaver = await fixture.worker(options)
      for (let n = 0; n < 6; n++) await fixture.add({ gate: 'open' }, (job) => job.retries(2))
      await fixture.started(6)
      const other = await fixture.worker(options)
      leaver.send('stop')
      await fixture.started(12)
      fixture.ledger.openGate('open')
      await fixture.succeeded(6)
      await fixture.settled()
      await leaver.message('stopped')
      expect(await leaver.exited).toEqual({ code: 0, signal: null })
      expect(await fixture.crashes()).toEqual([])
      const again = fixture.ledger.entries('start').filter(({ pid }) => pid === other.pid)
      expect(again.map(({ detail }) => (detail as { retries: number }).retries)).toEqual(Array(6).fill(2))
      expect(
        fixture.ledger.entries('succeeded').filter(({ pid }) => pid === leaver.pid && way === 'track'),
      ).toEqual([])
    },
  )

  it('lets those end that do so in time', async () => {
    const leaver = await fixture.worker({ drain: 20_000 })
    for (let n = 0; n < 3; n++) await fixture.add({ gate: 'open', result: n })
    await fixture.started(3)
    leaver.send('stop')
    await fixture.add()
    fixture.ledger.openGate('open')
    await leaver.message('stopped')
    expect(
      fixture.ledger
        .entries('succeeded')
        .map(({ detail }) => detail)
        .sort(),
    ).toEqual([0, 1, 2])
    expect(await fixture.tasks()).toEqual([])
    expect((await fixture.holds()).waiting).toHaveLength(1)
  })

  it.each([
    ['stop', 'settings'],
    ['close', 'settings'],
    ['close', 'ioredis 4'],
  ] as const)('with a backlog strands nothing (%s, %s)', async (how, client) => {
    for (let round = 0; round < 5; round++) {
      const before = (await fixture.holds()).succeeded.length
      const worker = await fixture.worker({ concurrency: 20, client, settings: { stallInterval: 60_000 } })
      const jobs = Array.from({ length: 150 }, () => fixture.add())
      await until(async () => (await fixture.holds()).succeeded.length > before + 20)
      worker.send(how)
      await worker.message(how === 'stop' ? 'stopped' : 'closed')
      await Promise.all(jobs)
      await until(async () => (await fixture.tasks()).length === 0)
      const { active, waiting, succeeded, jobs: known } = await fixture.holds()
      expect(active).toEqual([])
      expect(waiting.length + succeeded.length).toBe(known.length)
      if (how === 'close') await worker.kill()
    }
    await fixture.worker({ concurrency: 20 })
    await fixture.succeeded(750)
    expect(fixture.ledger.entries('start')).toHaveLength(750)
  })

  it('without Holdfast would have stranded some', async () => {
    let stranded = 0
    for (let round = 0; round < 20 && stranded === 0; round++) {
      const worker = await fixture.worker({
        way: 'plain',
        concurrency: 20,
        settings: { stallInterval: 60_000 },
      })
      await Promise.all(Array.from({ length: 300 }, () => fixture.add()))
      worker.send('close')
      await worker.message('closed')
      stranded = (await fixture.holds()).active.length
      await worker.kill()
    }
    expect(stranded).toBeGreaterThan(0)
  })

  it('has running jobs end after `close()` gave up on them', async () => {
    const worker = await fixture.worker({ drain: 100 })
    const job = await fixture.add({ gate: 'open', result: 'after all' })
    const answer = new Promise((resolve) => job.on('succeeded', resolve as never))
    await fixture.started(1)
    worker.send('close')
    expect(await worker.message('closed')).toMatchObject({ results: ['rejected'] })
    fixture.ledger.openGate('open')
    expect(await answer).toBe('after all')
    await fixture.settled()
  })
})
