import { randomBytes } from 'node:crypto'
import type { AddedJob, HeldJob, ProbedJob, TestQueue, Work } from '@holdfast/adapter-testkit'
import type { Job, JobsOptions, Queue } from 'bullmq'
import type { Redis as RedisClient } from 'ioredis'
import { bullmqAdapter } from '../../src/index.js'
import { bullmq, connectionOf, Redis } from './bull.js'

/** Where BullMQ has a job, as the kit calls it. */
const STATES: Readonly<Record<string, ProbedJob['state']>> = {
  ...{ waiting: 'runnable', paused: 'runnable', prioritized: 'runnable' },
  ...{ delayed: 'delayed', active: 'active', completed: 'completed', failed: 'failed' },
}

/** A queue of BullMQ's for the conformance tests. */
export class ConformanceQueue implements TestQueue {
  readonly name = `q${randomBytes(5).toString('hex')}`
  readonly queue: Queue
  readonly #client: RedisClient
  readonly #through: string

  /** @param through Redis's address for the processes that only sweep */
  constructor(
    readonly redis: string,
    through: string,
  ) {
    this.#through = through
    const connection = connectionOf(redis)
    this.queue = new bullmq.Queue(this.name, { connection })
    this.#client = new Redis(connection)
  }

  get options(): unknown {
    return { redis: this.redis, queue: this.name }
  }

  readonly probes = {
    add: (work: Work, { maxAttempts }: { maxAttempts?: number } = {}): Promise<AddedJob> =>
      this.add(work, maxAttempts === undefined ? {} : { attempts: maxAttempts }),
    list: async (): Promise<ProbedJob[]> => {
      const jobs = await this.queue.getJobs(Object.keys(STATES) as never)
      return Promise.all(jobs.filter(Boolean).map((job) => this.#probe(job)))
    },
  }

  async add(work: Work, options: JobsOptions = {}, name = 'work'): Promise<AddedJob> {
    const job = await this.queue.add(name, work, options)
    return { id: job.id!, jobRef: this.#refOf(job) }
  }

  /** What a sweeping process has. */
  async connect() {
    const queue = new bullmq.Queue(this.name, { connection: connectionOf(this.#through) })
    queue.on('error', () => undefined)
    return { adapter: bullmqAdapter({ queues: [queue] }), close: () => queue.close() }
  }

  async close(): Promise<void> {
    await this.queue.obliterate({ force: true })
    await this.queue.close()
    await this.#client.quit()
  }

  /** The job and the token of whoever has it. */
  async held({ id }: HeldJob): Promise<{ job: Job; token: string }> {
    return { job: (await this.queue.getJob(id))!, token: (await this.#client.get(`${this.#key(id)}:lock`))! }
  }

  /** The lock of a dead worker has run out. */
  async unlock({ id }: HeldJob): Promise<void> {
    await this.#client.del(`${this.#key(id)}:lock`)
  }

  /** What BullMQ's stalled check makes of such a job. */
  async stall(job: HeldJob): Promise<void> {
    await this.unlock(job)
    await this.#client.hincrby(this.#key(job.id), 'stc', 1)
    await this.#client.lrem(this.#list('active'), 0, job.id)
    await this.#client.rpush(this.#list('wait'), job.id)
  }

  /** Another worker, of no Holdfast, has it. */
  async takeOver(job: HeldJob): Promise<void> {
    await this.#client.set(`${this.#key(job.id)}:lock`, 'another:1', 'PX', 600_000)
    await this.#client.hincrby(this.#key(job.id), 'ats', 1)
  }

  /** It had failed, and its next attempt waits. */
  async retry(job: HeldJob): Promise<void> {
    await this.unlock(job)
    await this.#client.hincrby(this.#key(job.id), 'atm', 1)
    await this.#client.lrem(this.#list('active'), 0, job.id)
    await this.#client.lpush(this.#list('wait'), job.id)
  }

  #key(id: string): string {
    return `${this.queue.qualifiedName}:${id}`
  }

  #list(name: string): string {
    return `${this.queue.qualifiedName}:${name}`
  }

  #refOf(job: Job): string {
    return `${this.#key(job.id!)}@${job.timestamp}`
  }

  async #probe(job: Job): Promise<ProbedJob> {
    const { id, name, data, opts, priority, parentKey, deduplicationId, stacktrace, stalledCounter } = job
    const state = STATES[await job.getState()]
    // A run that BullMQ sees as completed counts as an attempt until then.
    const attemptsMade = state === 'completed' ? 0 : job.attemptsMade
    const fields = {
      name,
      opts,
      priority,
      parentKey,
      deduplicationId,
      stacktrace,
      stalledCounter,
      attemptsMade,
    }
    return { id: id!, jobRef: this.#refOf(job), data, state: state!, fields }
  }
}
