import { createRequire } from 'node:module'
import { TaskMonitor } from '@holdfast/core'
import { afterEach, describe, expect, it } from 'vitest'
import { beeQueueAdapter } from '../src/index.js'
import { BeeQueue, type ClientKind, type Queue, redisOf } from './support/bee.js'
import { Fixture } from './support/fixture.js'
import { TIMES } from './support/times.js'

const require = createRequire(import.meta.url)
const url = process.env.HOLDFAST_REDIS_URL!
const port = Number(new URL(url).port)

describe('the options of the adapter', () => {
  const made: { close?(timeout: number): Promise<unknown>; disconnect?(): unknown; quit?(): unknown }[] = []
  const queueOf = (redis: unknown, settings: object = {}): Queue => {
    const queue = new BeeQueue('options', { redis, ...settings })
    queue.on('error', () => undefined)
    made.push(queue as never)
    return queue
  }
  afterEach(async () => {
    for (const one of made.splice(0))
      await (one.close?.(20) ?? Promise.resolve(one.disconnect?.())).catch(() => undefined)
  })

  it.each<ClientKind>(['settings', 'redis 3', 'ioredis 4'])('take queues with %s', (client) => {
    const redis = redisOf(url, client)
    if (client !== 'settings') made.push(redis as never)
    expect(beeQueueAdapter({ queues: [queueOf(redis)] })).toMatchObject({
      name: 'bee-queue',
      capabilities: { atomicRecovery: false, preservesJobId: true, delay: false },
    })
  })

  it.each([
    ['ioredis 5', () => new (require('ioredis-5').Redis)(port, { lazyConnect: true })],
    ['redis 5', () => require('redis-5').createClient({ url })],
  ])('refuse %s, which bee-queue takes for settings', (_, client) => {
    // bee-queue would connect to the default server; here it is kept from it.
    const queue = new BeeQueue('options', { redis: client(), autoConnect: false })
    expect(() => beeQueueAdapter({ queues: [queue] })).toThrow(
      expect.objectContaining({
        code: 'HOLDFAST_CONFIG',
        message: expect.stringMatching(/doesn't know .* redis 3 or ioredis 4/),
      }),
    )
  })

  it('are refused all at once, each with what is wrong', () => {
    const busy = queueOf({ port })
    busy.process(1, (async () => undefined) as never)
    const wrong = { name: '', queues: [busy, {}, null] } as never
    expect(() => beeQueueAdapter(wrong)).toThrow(
      expect.objectContaining({
        code: 'HOLDFAST_CONFIG',
        message: expect.stringMatching(
          /name must be a non-empty string: ''.*queues\[0\] \('bq:options:'\) processes already.*queues\[1\] is no Queue.*queues\[2\] is no Queue/,
        ),
      }),
    )
    expect(() => beeQueueAdapter({ queues: [] })).toThrow(/queues must be a list/)
    expect(() => beeQueueAdapter({ queues: [queueOf({ port }), queueOf({ port })] })).toThrow(
      /two with the same keys/,
    )
  })

  it('refuse to hand off without a limit', () => {
    const adapter = beeQueueAdapter({ queues: [queueOf({ port })] })
    expect(() => adapter.handOff(async () => undefined, { concurrency: 0 })).toThrow(
      /concurrency must be a whole number/,
    )
  })

  it('don’t protect a handler that is not wrapped, and say so once', async () => {
    const fixture = await Fixture.create()
    try {
      const worker = await fixture.worker({ way: 'unwrapped' })
      for (let n = 0; n < 3; n++) await fixture.add()
      await fixture.succeeded(3)
      const { message } = await worker.message<{ message: string }>('queueError')
      expect(message).toMatch(/not protected: wrap its handler, queue.process\(adapter.track\(handler\)\)/)
      expect(worker.messages.filter((m) => (m as { type?: string }).type === 'queueError')).toHaveLength(1)
    } finally {
      await fixture[Symbol.asyncDispose]()
    }
  })

  it.each([false, true])(
    'tell of delayed jobs that nobody activates (activateDelayedJobs %s)',
    async (activateDelayedJobs) => {
      const fixture = await Fixture.create()
      try {
        const settings = { stallInterval: 200, activateDelayedJobs, delayedDebounce: 10 }
        const worker = await fixture.worker({ settings })
        await fixture.add({ failFirst: 1 }, (job) => job.retries(1).backoff('fixed', 700))
        if (activateDelayedJobs) await fixture.succeeded(1)
        else
          expect((await worker.message<{ message: string }>('queueError')).message).toMatch(
            /activateDelayedJobs: true/,
          )
        expect(worker.messages.filter((m) => (m as { type?: string }).type === 'queueError')).toHaveLength(
          activateDelayedJobs ? 0 : 1,
        )
      } finally {
        await fixture[Symbol.asyncDispose]()
      }
    },
  )

  it('let no monitor start whose bee-queue has given up on Redis, as it does when that is away at first', async () => {
    const fixture = await Fixture.create()
    try {
      const adapter = beeQueueAdapter({ queues: [queueOf({ port: 1 })] })
      const monitor = new TaskMonitor({ db: fixture.db, adapters: [adapter], ...TIMES })
      await expect(monitor.start()).rejects.toThrow(/Queue "options" can't reach Redis: .*Start again/)
      await monitor.stop()
    } finally {
      await fixture[Symbol.asyncDispose]()
    }
  })

  it('let no monitor start whose Redis user may not run the scripts, and name what it lacks', async () => {
    const fixture = await Fixture.create()
    const user = fixture.queue.name
    await fixture.server('acl', 'setuser', user, 'on', '>secret', '~*', '&*', '+@all', '-info')
    // A client that asks for nothing itself.
    const redis = { port, user, password: 'secret', no_ready_check: true }
    try {
      const adapter = beeQueueAdapter({ queues: [queueOf(redis)] })
      const monitor = new TaskMonitor({ db: fixture.db, adapters: [adapter], ...TIMES })
      await expect(monitor.start()).rejects.toThrow(/"options" can't work on its Redis.*refuses a script/)
      await monitor.stop()
    } finally {
      await fixture.server('acl', 'deluser', user)
      await fixture[Symbol.asyncDispose]()
    }
  })

  it('refuse a queue that is not connected', () => {
    const queue = new BeeQueue('options', { redis: { port }, autoConnect: false })
    expect(() => beeQueueAdapter({ queues: [queue] })).toThrow(/is not connected: .*queue\.connect\(\)/)
  })

  it('name the queue of a job that is not among them', async () => {
    const adapter = beeQueueAdapter({ queues: [queueOf({ port })] })
    const stranger = queueOf({ port }, { prefix: 'other' })
    await expect(adapter.track(async () => 1)(stranger.createJob({}) as never)).rejects.toThrow(
      /"options" is not protected/,
    )
  })
})
