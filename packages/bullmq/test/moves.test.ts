import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

/** So patient that a busy machine cuts no run short. */
const monitor = { heartbeatInterval: 1_000, orphanThreshold: 20_000 }

describe('what BullMQ does with jobs', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it.each(['delayed', 'wait', 'rateLimit'] as const)('a processor may move its job (%s)', async (moves) => {
    await fixture.worker({ monitor })
    const job = await fixture.add({ moves })
    await fixture.completed(1)
    await fixture.settled()
    expect(fixture.ledger.entries('start', job.id)).toHaveLength(2)
    expect(fixture.ledger.entries('failed')).toEqual([])
    expect(fixture.ledger.entries('error')).toEqual([])
    expect(await fixture.hash(job.id)).toMatchObject({ atm: '1' })
  })

  it.each(['track', 'handOff'] as const)('retries and backoff are the job’s own (%s)', async (way) => {
    await fixture.worker({ way, monitor })
    const retried = await fixture.add(
      { failFirst: 2 },
      { attempts: 3, backoff: { type: 'fixed', delay: 30 } },
    )
    const failing = await fixture.add({ fail: 'as ever' }, { attempts: 2, removeOnComplete: true })
    await until(() => fixture.ledger.entries('finish', retried.id).length === 1)
    await until(async () => (await fixture.places()).failed.includes(failing.id))
    await fixture.settled()
    const made = (id: string): unknown[] =>
      fixture.ledger.entries('start', id).map(({ detail }) => (detail as { made: number }).made)
    expect(made(retried.id)).toEqual([0, 1, 2])
    expect(made(failing.id)).toEqual([0, 1])
    expect(await fixture.hash(failing.id)).toMatchObject({ failedReason: 'as ever', atm: '2' })
    expect((await fixture.places()).completed).toEqual([retried.id])
    expect(fixture.ledger.entries('failed', failing.id).length).toBe(2)
  })

  it('priority, data, options and progress of a killed job stay, and a paused queue stays so', async () => {
    const victim = await fixture.worker()
    const options = { priority: 7, attempts: 4, keepLogs: 3, backoff: 1_000 }
    const job = await fixture.add({ gate: 'open', progress: 30 }, options)
    await job.log('noted')
    await fixture.started(1)
    await until(async () => (await fixture.hash(job.id)).progress === '30')
    const before = await fixture.hash(job.id)
    await fixture.queue.pause()
    await victim.kill()
    await fixture.worker({ way: 'track' })
    await until(async () => (await fixture.tasks()).length === 0)
    expect((await fixture.places()).prioritized).toEqual([job.id])
    const { holdfast: _mark, ...after } = await fixture.hash(job.id)
    expect(after).toEqual(before)
    expect(await fixture.client.lrange(`${fixture.keys}${job.id}:logs`, 0, -1)).toEqual(['noted'])
    expect(fixture.ledger.entries('start')).toHaveLength(1)
    fixture.ledger.openGate('open')
    await fixture.queue.resume()
    await fixture.completed(1)
  })

  it('a job that was in flight is the next one, ahead of those that wait', async () => {
    const settings = { concurrency: 1 }
    const victim = await fixture.worker({ settings })
    const first = await fixture.add({ gate: 'open' })
    await fixture.started(1)
    await fixture.queue.pause()
    const second = await fixture.add()
    await victim.kill()
    await fixture.worker({ settings })
    await until(async () => (await fixture.tasks()).length === 0)
    await fixture.queue.resume()
    fixture.ledger.openGate('open')
    await fixture.completed(2)
    expect(fixture.ledger.entries('finish').map(({ job }) => job)).toEqual([first.id, second.id])
  })

  it('a scheduler goes on: neither broken nor doubled by the crash of its job', async () => {
    const victim = await fixture.worker()
    await fixture.queue.upsertJobScheduler(
      'often',
      { every: 3_600_000 },
      { name: 'tick', data: { gate: 'open' } },
    )
    await fixture.started(1)
    await victim.kill()
    await fixture.worker()
    await fixture.started(2)
    fixture.ledger.openGate('open')
    await fixture.completed(1)
    const { delayed, wait } = await fixture.places()
    expect([delayed.length, wait.length]).toEqual([1, 0])
    expect(await fixture.queue.getJobSchedulersCount()).toBe(1)
  })

  it('a deduplicated job stays the one of its id while it is recovered', async () => {
    const victim = await fixture.worker()
    const deduplication = { id: 'once' }
    const job = await fixture.add({ gate: 'open' }, { deduplication })
    await fixture.started(1)
    await victim.kill()
    expect((await fixture.add({}, { deduplication })).id).toBe(job.id)
    await fixture.worker()
    await fixture.started(2)
    expect((await fixture.add({}, { deduplication })).id).toBe(job.id)
    fixture.ledger.openGate('open')
    await fixture.completed(1)
    expect((await fixture.add({}, { deduplication })).id).not.toBe(job.id)
  })

  it('a global limit of concurrency is not used up by dead workers', async () => {
    await fixture.queue.setGlobalConcurrency(1)
    const victim = await fixture.worker()
    await fixture.add({ gate: 'open' })
    await fixture.started(1)
    await fixture.add()
    await victim.kill()
    await fixture.worker()
    fixture.ledger.openGate('open')
    await fixture.completed(2)
    await fixture.settled()
  })
})
