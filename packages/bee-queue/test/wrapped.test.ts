import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { beeQueueAdapter } from '../src/index.js'
import { BeeQueue, redisOf } from './support/bee.js'
import { Fixture } from './support/fixture.js'
import type { Wrapper } from './support/wrapped.js'

const WRAPPERS: readonly Wrapper[] = [
  ...(['tracker', 'new error', 'careless', 'derived', 'copy', 'again', 'twice'] as const),
  ...(['track in hand-off', 'hand-off in track'] as const),
]

describe('a handler that is wrapped once more', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
    await sql`create table effects (job varchar(50) not null)`.execute(fixture.db)
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const work = (way: 'track' | 'handOff', wrapper: Wrapper) =>
    fixture.worker({ way, wrapper, monitor: { orphanThreshold: 60_000 }, drain: 600_000 })

  const starts = (id: string): number => fixture.ledger.entries('start', id).length

  const handsOff = (way: string, wrapper: Wrapper): boolean =>
    wrapper.includes('hand-off') ? wrapper === 'track in hand-off' : way === 'handOff'

  describe.each(['track', 'handOff'] as const)('(%s)', (way) => {
    it.each(WRAPPERS)('is protected once, a suspect too: %s', async (wrapper) => {
      const job = await fixture.add({ gate: 'open', result: 1 }, (job) => job.retries(2))
      await fixture.suspect(job)
      const worker = await work(way, wrapper)
      await fixture.started(1)
      expect(fixture.ledger.entries('start')).toMatchObject([{ detail: { protected: true } }])
      expect(await fixture.tasks()).toHaveLength(1)
      const { active, succeeded } = await fixture.holds()
      expect(handsOff(way, wrapper) ? succeeded : active).toEqual([job.id])
      fixture.ledger.openGate('open')
      await until(() => fixture.ledger.entries('finish').length === 1, { what: 'it ends' })
      await fixture.settled()
      expect(starts(job.id)).toBe(1)
      expect((await fixture.holds()).succeeded).toEqual([job.id])
      worker.send('stop')
      await worker.message('stopped')
      expect(worker.messages).not.toContainEqual(expect.objectContaining({ type: 'queueError' }))
    })

    it.each(WRAPPERS)('fails by its retries: %s', async (wrapper) => {
      await work(way, wrapper)
      const jobs = [1, 2].map(() => fixture.add({ fail: 'on purpose' }, (job) => job.retries(1)))
      const [job, other] = await Promise.all(jobs)
      await until(async () => (await fixture.holds()).failed.length === 2, { what: 'both have failed' })
      await fixture.settled()
      const isTriedTwice = wrapper === 'again' && way === 'track'
      expect([starts(job!.id), starts(other!.id)]).toEqual(isTriedTwice ? [4, 4] : [2, 2])
      const { stacktraces } = JSON.parse(await fixture.command('hget', 'jobs', job!.id)).options
      const isRenamed = wrapper === 'new error' && way === 'track'
      expect(stacktraces[0]).toContain(isRenamed ? 'told to the tracker' : 'on purpose')
    })

    it('and fails itself when the job has been registered: by its retries, too, and it keeps no place', async () => {
      await work(way, 'after')
      const jobs = [1, 2, 3].map(() => fixture.add({}, (job) => job.retries(1)))
      const ids = (await Promise.all(jobs)).map(({ id }) => id)
      await until(async () => (await fixture.holds()).failed.length === 3, { what: 'all have failed' })
      await fixture.settled()
      expect(ids.map(starts)).toEqual(Array(3).fill(way === 'track' ? 2 : 0))
    })
  })

  it('and throws after the commit: the job has succeeded', async () => {
    const worker = await work('track', 'after')
    const job = await fixture.add({ endings: ['commit'] }, (job) => job.retries(2))
    expect((await worker.message<{ message: string }>('queueError')).message).toMatch(/the job has succeeded/)
    await fixture.settled()
    expect(starts(job.id)).toBe(1)
    expect((await fixture.holds()).succeeded).toEqual([job.id])
  })

  it('and tries again what has been given back leaves that to its next run', async () => {
    await work('track', 'again')
    const job = await fixture.add({ endings: ['release and throw'] }, (job) => job.retries(2))
    await until(() => fixture.ledger.entries('finish').length === 1, { what: 'it ends' })
    await fixture.settled()
    expect(starts(job.id)).toBe(2)
    expect((await fixture.holds()).succeeded).toEqual([job.id])
  })

  it('is one adapter’s: a queue is not given to two', async () => {
    const queue = new BeeQueue(fixture.queue.name, { redis: redisOf(fixture.redis) })
    queue.on('error', () => undefined)
    beeQueueAdapter({ queues: [queue] })
    expect(() => beeQueueAdapter({ queues: [queue], name: 'other' })).toThrow(
      expect.objectContaining({
        code: 'HOLDFAST_CONFIG',
        message: expect.stringMatching(/queues\[0\] \('bq:.*'\) is given to another beeQueueAdapter already/),
      }),
    )
    await queue.close(50)
  })
})
