import { createRequire } from 'node:module'
import { until } from '@holdfast/chaos'
import { TaskMonitor } from '@holdfast/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { beeQueueAdapter } from '../src/index.js'
import { BeeQueue, type Queue } from './support/bee.js'
import { Fixture } from './support/fixture.js'
import { TIMES } from './support/times.js'

const require = createRequire(import.meta.url)
const url = process.env.HOLDFAST_REDIS_URL!
const port = Number(new URL(url).port)
const PREFIX = 'tenant:'
const GIVEN_LATER = { prefix: PREFIX, keyPrefix: PREFIX }

const redis3 = (options: object): object => require('redis').createClient(options)
const ioredis4 = (...args: unknown[]): object => new (require('ioredis-4'))(...args)
/** ioredis 5, which bee-queue takes for a client by the name of its class alone. */
const ioredis5 = (options: object): object => {
  const { Redis: Base } = require('ioredis-5') as { Redis: new (given: object) => object }
  return new (class Redis extends Base {})(options)
}

describe('a queue whose Redis client has a prefix of its own', () => {
  let fixture: Fixture
  const clients: object[] = []
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(async () => {
    for (const client of clients.splice(0)) (client as { quit(): void }).quit()
    await fixture[Symbol.asyncDispose]()
  })

  const queueOn = (redis: unknown, settings: object = {}): Queue => {
    if (typeof (redis as { quit?: unknown }).quit === 'function') clients.push(redis as object)
    const queue = new BeeQueue(fixture.queue.name, { redis, ...settings })
    queue.on('error', () => undefined)
    return queue
  }
  const refusal = () =>
    expect.objectContaining({
      code: 'HOLDFAST_CONFIG',
      message: expect.stringMatching(
        new RegExp(
          `\\("bq:${fixture.queue.name}:"\\) is on a Redis client that puts "tenant:" before every key .*` +
            `new Queue\\("${fixture.queue.name}", { prefix: "tenant:bq", redis: … }\\) has the same keys`,
        ),
      ),
    })

  it.each([
    ['settings', () => ({ port, prefix: PREFIX })],
    ['a client of redis 3', () => redis3({ port, prefix: PREFIX })],
    ['a client of redis 3 with a URL', () => redis3({ url: `${url}?prefix=${PREFIX}` })],
    ['a client of ioredis 4', () => ioredis4({ port, keyPrefix: PREFIX })],
    ['a client of ioredis 4 with a URL', () => ioredis4(`${url}?keyPrefix=${PREFIX}`)],
    ['a client of ioredis 5', () => ioredis5({ port, keyPrefix: PREFIX })],
  ])('is refused as soon as it is seen (%s)', async (_, redis) => {
    const queue = queueOn(redis())
    try {
      expect(() => beeQueueAdapter({ queues: [queue] })).toThrow(refusal())
    } finally {
      await queue.close()
    }
  })

  it.each([
    ['a URL', 'tenant:bq', () => `${url}?prefix=${PREFIX}`],
    ['settings with a URL', 'tenant:bq', () => ({ url: `${url}?prefix=${PREFIX}` })],
    ['a client of redis 3 that is given it later', 'bq', () => redis3({ port })],
    ['a client of ioredis 4 that is given it later', 'bq', () => ioredis4({ port })],
  ])('is refused at start at the latest, and no job begins (%s)', async (_, prefix, redisOf) => {
    const redis = redisOf()
    const producer = new BeeQueue(fixture.queue.name, { redis: { port }, prefix, isWorker: false })
    await producer.createJob({}).save()
    const queue = queueOn(redis)
    const adapter = beeQueueAdapter({ queues: [queue] })
    let begun = 0
    queue.process(
      5,
      adapter.track(async () => {
        begun += 1
      }) as never,
    )
    await until(async () => (await producer.checkHealth()).active === 1, { what: 'the job is popped' })
    if (typeof redis === 'object' && 'options' in redis) Object.assign(redis.options as object, GIVEN_LATER)
    const monitor = new TaskMonitor({ db: fixture.db, adapters: [adapter], ...TIMES })
    await expect(monitor.start()).rejects.toEqual(refusal())
    await monitor.stop()
    // Whoever does better finds the job at once.
    await until(async () => (await producer.checkHealth()).waiting === 1, { what: 'the job is given back' })
    expect(begun).toBe(0)
    expect(await fixture.tasks()).toEqual([])
    await producer.close()
  })

  it('runs its jobs once with the same prefix as its own, also after a crash', async () => {
    const own = await Fixture.create({ settings: { prefix: 'tenant:bq' } })
    try {
      const settings = { prefix: 'tenant:bq' }
      const victim = await own.worker({ settings })
      const job = await own.add({ gate: 'open', result: 1 })
      await own.started(1)
      await victim.kill()
      await own.worker({ settings })
      await own.started(2)
      own.ledger.openGate('open')
      await own.succeeded(1)
      await own.settled()
      expect(own.ledger.entries('start', job.id)).toHaveLength(2)
    } finally {
      await own[Symbol.asyncDispose]()
    }
  })
})
