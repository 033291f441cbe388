import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('a worker that stands still', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('with its event loop blocked for longer than stallInterval, but not than its lease, keeps its job', async () => {
    const settings = { stallInterval: 200 }
    await fixture.worker({ settings, monitor: { orphanThreshold: 6_000 } })
    const job = await fixture.add({ block: 2_500, result: 1 })
    await fixture.started(1)
    await fixture.worker({ settings, monitor: { orphanThreshold: 6_000 } })
    await fixture.succeeded(1)
    await fixture.settled()
    expect(fixture.ledger.entries('start', job.id)).toHaveLength(1)
    expect(await fixture.crashes()).toEqual([])
  })

  it('with its event loop blocked for longer than its lease loses its job, which ends once', async () => {
    const blocked = await fixture.worker()
    const job = await fixture.add({ blockUntil: 'open', result: 1 })
    await fixture.started(1)
    // Patient, since its own handler blocks as well.
    await fixture.worker({ settings: { stallInterval: 300 }, monitor: { orphanThreshold: 10_000 } })
    await fixture.started(2)
    fixture.ledger.openGate('open')
    await until(() => fixture.ledger.entries('finish', job.id).length === 2, { what: 'both get to the end' })
    await fixture.settled()
    await blocked.message('evicted')
    await expect.poll(() => fixture.ledger.entries('succeeded')).toHaveLength(1)
    const [first, again, ...more] = fixture.ledger.entries('start', job.id)
    expect([first!.pid, more]).toEqual([blocked.pid, []])
    // Awake again it may be the one who takes it up, as a new incarnation.
    expect(fixture.ledger.entries('succeeded')[0]!.pid).toBe(again!.pid)
    expect((await fixture.crashes()).map(({ count }) => Number(count))).toEqual([1])
  })

  it('without Holdfast would have run twice when blocked for half a stallInterval', async () => {
    await fixture.worker({ way: 'plain', settings: { stallInterval: 200 } })
    const job = await fixture.add({ block: 3_000 })
    await fixture.started(1)
    fixture.queue.settings.stallInterval = 200
    await fixture.worker({ way: 'plain', settings: { stallInterval: 200 } })
    await until(async () => {
      await fixture.queue.checkStalledJobs()
      return fixture.ledger.entries('succeeded', job.id).length === 2
    })
  })
})

describe('beside bee-queue’s own stall check', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  // Faster than the monitor, about as fast, and slower; and with time between bee-queue's pop and our handler.
  it.each([
    { stallInterval: 150, lag: 0 },
    { stallInterval: 150, lag: 400 },
    { stallInterval: 1_200, lag: 400 },
    { stallInterval: 30_000, lag: 0 },
  ])(
    'every job of a dead worker runs once more ($stallInterval ms, $lag ms from pop to handler)',
    async ({ stallInterval, lag }) => {
      const options = { concurrency: 60, lag, settings: { stallInterval } }
      const victim = await fixture.worker({ ...options, lag: 0 })
      for (let n = 0; n < 60; n++) await fixture.add({ gate: 'open' })
      await fixture.started(60)
      await fixture.worker(options)
      await fixture.worker(options)
      await victim.kill()
      await fixture.started(120)
      fixture.ledger.openGate('open')
      await fixture.succeeded(60)
      await fixture.settled()
      expect(fixture.ledger.entries('start')).toHaveLength(120)
      await expect.poll(() => fixture.ledger.entries('succeeded')).toHaveLength(60)
      expect((await fixture.crashes()).map(({ count }) => Number(count))).toEqual(Array(60).fill(1))
    },
  )

  it('a job that was popped and never begun is given back, with nobody but the adapter to check', async () => {
    const victim = await fixture.worker({ lag: 60_000, settings: { stallInterval: 300 } })
    const job = await fixture.add()
    await until(async () => (await fixture.holds()).active.length === 1)
    await victim.kill()
    await fixture.worker({ settings: { stallInterval: 300 } })
    await fixture.succeeded(1)
    expect(fixture.ledger.entries('start', job.id)).toHaveLength(1)
  })

  it('a job that was taken back between its pop and its handler is not begun, and runs once', async () => {
    await fixture.worker({ concurrency: 1, lag: 500, settings: { stallInterval: 60_000 } })
    const job = await fixture.add()
    await until(async () => (await fixture.holds()).active.length === 1)
    await fixture.command('lrem', 'active', 0, job.id)
    await fixture.command('lpush', 'waiting', job.id)
    await fixture.succeeded(1)
    await fixture.add()
    await fixture.succeeded(2)
    expect(fixture.ledger.entries('start', job.id)).toHaveLength(1)
  })

  it('an id without a job is removed, and does not go round for ever', async () => {
    const worker = await fixture.worker({ settings: { stallInterval: 200 } })
    await fixture.command('lpush', 'waiting', 'phantom')
    await until(async () => {
      const { waiting, active } = await fixture.holds()
      return waiting.length + active.length === 0
    })
    expect((await worker.message<{ message: string }>('queueError')).message).toContain('phantom')
    await fixture.add()
    await fixture.succeeded(1)
  })
})
