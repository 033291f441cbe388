import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('a worker process that stops', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

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
