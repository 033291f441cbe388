import { requiredUrl } from '@holdfast/chaos'
import { ConfigError, TaskMonitor } from '@holdfast/core'
import { afterAll, describe, expect, it } from 'vitest'
import { bullmqAdapter } from '../src/index.js'
import { bullmq, bullmqVersion, connectionOf } from './support/bull.js'
import { Fixture } from './support/fixture.js'

const connection = connectionOf(requiredUrl('HOLDFAST_REDIS_URL'))
const queue = new bullmq.Queue('options', { connection })
afterAll(() => queue.close())

const messageOf = (work: () => unknown): string => {
  try {
    work()
  } catch (error) {
    expect(ConfigError.is(error)).toBe(true)
    return (error as Error).message
  }
  return ''
}

describe('wrong options', () => {
  it('are named all at once', () => {
    const message = messageOf(() =>
      bullmqAdapter({ name: '', queues: [queue, queue, {} as never, null as never] }),
    )
    expect(message).toContain("name must be a non-empty string: ''")
    expect(message).toContain('queues[2] is no Queue of BullMQ 5 or 6')
    expect(message).toContain("queues[3] is no Queue of BullMQ's: null")
    expect(message).toContain("two with the same keys: 'bull:options:*'")
    expect(messageOf(() => bullmqAdapter({ queues: [] }))).toContain(
      "queues must be a list of BullMQ's Queues: []",
    )
  })

  it('a processor in a file is refused, with what protects it', () => {
    const adapter = bullmqAdapter({ queues: [queue] })
    expect(messageOf(() => adapter.track('./processor.js' as never))).toContain('adapter.guard(worker)')
    expect(messageOf(() => adapter.handOff(async () => undefined, { concurrency: 0 }))).toContain(
      'at least 1: 0',
    )
  })

  it('what is no worker of its queues is not guarded', async () => {
    const adapter = bullmqAdapter({ queues: [queue] })
    await expect(adapter.guard(queue)).rejects.toThrow('takes a Worker')
    const other = new bullmq.Worker('other', async () => undefined, { connection, autorun: false })
    await expect(adapter.guard(other)).rejects.toThrow("queue 'other' is not among the adapter's")
    await other.close()
  })

  it('clients other than ioredis are refused at the start', async () => {
    const fixture = await Fixture.create()
    try {
      const strange = {
        name: 'x',
        qualifiedName: 'bull:x',
        getJob: () => undefined,
        client: Promise.resolve({}),
      }
      const monitor = new TaskMonitor({
        db: fixture.db,
        adapters: [bullmqAdapter({ queues: [strange as never] })],
      })
      await expect(monitor.start()).rejects.toThrow('Queue "x" has no client of ioredis')
      await monitor.stop()
      const elsewhere = { name: 'x', qualifiedName: 'x', getJob: () => undefined, backend: {} }
      expect(messageOf(() => bullmqAdapter({ queues: [elsewhere] }))).toContain('keeps its jobs in no Redis')
    } finally {
      await fixture[Symbol.asyncDispose]()
    }
  })

  it.skipIf(bullmqVersion.startsWith('5.'))('a queue on another backend (of 6) is refused', () => {
    const backend = {
      createPostgresBackend: (bullmq as Record<string, unknown>).createPostgresBackend as never,
    }
    expect(backend.createPostgresBackend).toBeTypeOf('function')
    const elsewhere = new bullmq.Queue(
      'elsewhere',
      { connection: 'postgres://127.0.0.1:1/none' as never },
      backend.createPostgresBackend,
    )
    elsewhere.on('error', () => undefined)
    expect(messageOf(() => bullmqAdapter({ queues: [elsewhere] }))).toContain('keeps its jobs in no Redis')
    void elsewhere.close().catch(() => undefined)
  })
})
