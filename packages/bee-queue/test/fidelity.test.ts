import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ClientKind } from './support/bee.js'
import { Fixture } from './support/fixture.js'
import { PrivateRedis } from './support/private-redis.js'

const TIMESTAMP = 1_700_000_000_000

describe('a job whose Redis and worker are both lost', () => {
  let redis: PrivateRedis
  let fixture: Fixture
  beforeEach(async () => {
    redis = await PrivateRedis.create({ persistent: false })
    fixture = await Fixture.create({ redis: redis.url })
  })
  afterEach(async () => {
    await fixture[Symbol.asyncDispose]()
    await redis[Symbol.asyncDispose]()
  })

  it.each<ClientKind>(['settings', 'redis 3', 'ioredis 4'])(
    'is again what it was, to the byte (%s)',
    async (client) => {
      const options = `{"timestamp":${TIMESTAMP},"stacktraces":["earlier"],"retries":2,"backoff":{"strategy":"mine","delay":4000},"timeout":90000,"unknown":{"x":1.50}}`
      const data = String.raw`{"gate":"open","big":12345678901234567890,"lone":"\ud800","nul":"\u0000","e":1.50,"ü":"😀"}`
      const text = `{"data":${data},"options":${options},"status":"retrying","progress":{"half":0.50}}`
      const victim = await fixture.worker({ client })
      await fixture.command('hset', 'jobs', 'job: ü 1', text)
      await fixture.command('lpush', 'waiting', 'job: ü 1')
      await fixture.started(1)
      await victim.kill()
      await redis.restart()
      await fixture.worker({ client })
      await fixture.started(2)
      expect(await fixture.command('hget', 'jobs', 'job: ü 1')).toBe(text)
      fixture.ledger.openGate('open')
      await fixture.succeeded(1)
      await fixture.settled()
    },
  )

  it('runs without a delay that is over, which would keep it waiting for ever', async () => {
    const settings = { activateDelayedJobs: true, delayedDebounce: 10 }
    const victim = await fixture.worker({ settings })
    await fixture.add({ gate: 'open' }, (job) => job.delayUntil(Date.now() + 100))
    await fixture.started(1)
    await victim.kill()
    await redis.restart()
    await fixture.worker() // Activates no delayed jobs.
    await fixture.started(2)
    fixture.ledger.openGate('open')
    await fixture.succeeded(1)
  })
})

describe('jobs with Holdfast', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it.each(['track', 'callback'] as const)(
    'have results, events, progress, retries, backoff and timeouts as before (%s)',
    async (way) => {
      await fixture.worker({ way, settings: { activateDelayedJobs: true, delayedDebounce: 10 } })
      const heard: unknown[] = []
      const hear = (name: string) => (value: unknown) =>
        heard.push([name, value instanceof Error ? value.message : value])
      const first = await fixture.add({ result: [1], progress: { p: 1 } })
      for (const event of ['progress', 'succeeded']) first.on(event, hear(event) as never)
      await fixture.succeeded(1)
      const second = await fixture.add({ failFirst: 2, result: 'third time' }, (job) =>
        job.retries(3).backoff('fixed', 50),
      )
      for (const event of ['retrying', 'succeeded']) second.on(event, hear(event) as never)
      await fixture.succeeded(2)
      const third = await fixture.add({ gate: 'never' }, (job) => job.timeout(100).retries(1))
      const failed = new Promise<Error>((resolve) => third.on('failed', resolve as never))
      expect((await failed).message).toMatch(/timed out/)
      const sync = await fixture.add({ fail: 'on purpose' })
      await expect.poll(async () => (await fixture.holds()).failed).toEqual([third.id, sync.id].sort())
      await expect
        .poll(() => heard)
        .toEqual([
          ['progress', { p: 1 }],
          ['succeeded', [1]],
          ['retrying', 'not yet'],
          ['retrying', 'not yet'],
          ['succeeded', 'third time'],
        ])
      // Both attempts that ran out of time were told so.
      expect(fixture.ledger.entries('aborted', third.id)).toHaveLength(2)
      expect(fixture.ledger.entries('start', third.id)).toHaveLength(2)
      await fixture.settled()
    },
  )

  it('of several queues and prefixes in one process are kept apart, though their ids are the same', async () => {
    const other = await Fixture.create()
    try {
      const queues = [fixture.queue.name, other.queue.name]
      const victim = await fixture.worker({ queues })
      const one = await fixture.add({ gate: 'open', result: 'one' })
      const two = await other.add({ gate: 'open', result: 'two' })
      expect(two.id).toBe(one.id)
      await fixture.started(2)
      await fixture.worker({ queues })
      await victim.kill()
      await fixture.started(4)
      fixture.ledger.openGate('open')
      await fixture.succeeded(1)
      await other.succeeded(1)
      const ends = () =>
        new Map(fixture.ledger.entries('succeeded').map(({ queue, detail }) => [queue, detail]))
      await expect.poll(ends).toEqual(
        new Map([
          [fixture.queue.name, 'one'],
          [other.queue.name, 'two'],
        ]),
      )
    } finally {
      await other[Symbol.asyncDispose]()
    }
  })
})
