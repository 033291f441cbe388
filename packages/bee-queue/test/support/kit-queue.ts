import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import type { AddedJob, ProbedJob, SetupContext, TestQueue, Work } from '@holdfast/adapter-testkit'
import { requiredUrl } from '@holdfast/chaos'
import { beeQueueAdapter } from '../../src/index.js'
import { BeeQueue, type Job, type Queue, redisOf } from './bee.js'

const { createClient } = createRequire(import.meta.url)('redis')

export interface KitOptions {
  readonly redis: string
  readonly queue: string
  readonly settings: object
}

export interface BeeTestQueue extends TestQueue {
  /** Adds a job; `set` sets more of it. */
  addJob(work: Work, set?: (job: Job) => unknown): Promise<AddedJob>
  /** A command on a key of the queue's. */
  command<T = unknown>(name: string, key: string, ...args: (string | number)[]): Promise<T>
}

/** Redis gives jobs to a process that stands still, too; bee-queue's own check gives them back. */
const SETTINGS = { stallInterval: 500, activateDelayedJobs: true, delayedDebounce: 10 }

const PLACES = {
  waiting: 'runnable',
  active: 'active',
  delayed: 'delayed',
  succeeded: 'completed',
  failed: 'failed',
} as const

/** A queue of bee-queue's for the conformance kit. */
export async function beeTestQueue({ proxy }: SetupContext): Promise<BeeTestQueue> {
  const redis = requiredUrl('HOLDFAST_REDIS_URL')
  const through = await proxy(redis)
  const name = `q${randomBytes(5).toString('hex')}`
  const producer = new BeeQueue(name, { redis: redisOf(redis), isWorker: false })
  await producer.ready()
  const client = createClient({ url: redis })
  const send = promisify(client.send_command).bind(client) as (
    name: string,
    args: unknown[],
  ) => Promise<never>
  const prefix = producer.settings.keyPrefix
  const command: BeeTestQueue['command'] = (command, key, ...args) =>
    send(command, [`${prefix}${key}`, ...args])
  const refOf = (id: string, job: Pick<Job, 'options'>): string => `${prefix}${id}@${job.options.timestamp}`

  async function addJob(work: Work, set: (job: Job) => unknown = () => undefined): Promise<AddedJob> {
    const job = producer.createJob(work)
    set(job)
    await job.save()
    return { id: job.id!, jobRef: refOf(job.id!, job) }
  }

  async function list(): Promise<ProbedJob[]> {
    const places = new Map<string, ProbedJob['state']>()
    for (const [place, state] of Object.entries(PLACES)) {
      for (const id of await membersOf(place)) places.set(id, state)
    }
    const jobs = (await command<Record<string, string> | null>('hgetall', 'jobs')) ?? {}
    return Object.entries(jobs).flatMap(([id, text]) => {
      const { data, options } = JSON.parse(text)
      const state = places.get(id)
      const { timestamp, delay: _, ...fields } = options
      return state === undefined
        ? []
        : [{ id, jobRef: refOf(id, { options: { timestamp } }), data, state, fields }]
    })
  }

  function membersOf(place: string): Promise<string[]> {
    if (place === 'delayed') return command('zrange', place, 0, -1)
    return place === 'waiting' || place === 'active'
      ? command('lrange', place, 0, -1)
      : command('smembers', place)
  }

  const queues: Queue[] = []
  return {
    options: { redis, queue: name, settings: SETTINGS } satisfies KitOptions,
    addJob,
    command,
    probes: {
      add: (work, { maxAttempts = 1 } = {}) => addJob(work, (job) => job.retries(maxAttempts - 1)),
      list,
    },
    async connect() {
      const queue = new BeeQueue(name, { redis: redisOf(through), stallInterval: 3_600_000 })
      queue.on('error', () => undefined)
      await queue.ready()
      queues.push(queue)
      return {
        adapter: beeQueueAdapter({ queues: [queue] }),
        close: () => queue.close(50).catch(() => undefined),
      }
    },
    async close() {
      await producer.close(50)
      await promisify(client.quit).bind(client)()
    },
  }
}
