import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { Child, freshDatabase, Ledger, requiredUrl, type TestDatabase, until } from '@holdfast/chaos'
import { migrate } from '@holdfast/core'
import { sql } from 'kysely'
import { BeeQueue, type Job, type Queue, redisOf } from './bee.js'
import type { Work, WorkerOptions } from './worker.js'

const { createClient } = createRequire(import.meta.url)('redis')

export interface FixtureOptions {
  /** @default the leg's */
  readonly sql?: string
  /** @default the Redis that all tests share */
  readonly redis?: string
  /** Of the producer's queue. */
  readonly settings?: object
}

/** A database with Holdfast, a queue, and a ledger of what handlers did. */
export class Fixture implements AsyncDisposable {
  readonly ledger = Ledger.create()
  readonly #children: Child[] = []
  readonly #client: Record<string, (...args: unknown[]) => void>

  private constructor(
    readonly database: TestDatabase,
    readonly redis: string,
    /** Adds jobs, and hears of their ends. */
    readonly queue: Queue,
  ) {
    this.#client = createClient({ url: redis, retry_strategy: () => 50 })
    this.#client.on!('error', () => undefined)
  }

  static async create({
    sql: sqlUrl,
    redis = requiredUrl('HOLDFAST_REDIS_URL'),
    settings,
  }: FixtureOptions = {}): Promise<Fixture> {
    const database = await freshDatabase(sqlUrl, sqlUrl)
    await migrate(database.db)
    const name = `q${randomBytes(5).toString('hex')}`
    const queue = new BeeQueue(name, { redis: redisOf(redis), isWorker: false, ...settings })
    queue.on('error', () => undefined)
    await queue.ready()
    return new Fixture(database, redis, queue)
  }

  get db(): TestDatabase['db'] {
    return this.database.db
  }

  get prefix(): string {
    return this.queue.settings.keyPrefix
  }

  async worker(options: Partial<WorkerOptions> = {}): Promise<Child> {
    const child = new Child(new URL('./worker.ts', import.meta.url), {
      options: {
        ...{
          url: this.database.url,
          redis: this.redis,
          ledger: this.ledger.folder,
          queues: [this.queue.name],
        },
        ...options,
      },
    })
    this.#children.push(child)
    await child.message('ready')
    return child
  }

  /** Adds a job; `with` sets more of it. */
  async add(work: Work = {}, set: (job: Job) => unknown = () => undefined): Promise<Job & { id: string }> {
    const job = this.queue.createJob(work)
    set(job)
    await job.save()
    if (job.id === null) throw new Error('bee-queue dropped a job: its id is taken')
    return job as Job & { id: string }
  }

  /** A command on a key of the queue's. */
  command<T = unknown>(name: string, key: string, ...args: (string | number)[]): Promise<T> {
    return this.server(name, `${this.prefix}${key}`, ...args)
  }

  /** A command on no key. */
  server<T = unknown>(name: string, ...args: (string | number)[]): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#client[name]!(...args, (error: Error | null, reply: T) =>
        error ? reject(error) : resolve(reply),
      )
    })
  }

  /** What bee-queue holds, by the key that it is under. */
  async holds(): Promise<
    Record<'waiting' | 'active' | 'delayed' | 'succeeded' | 'failed' | 'jobs', string[]>
  > {
    return {
      waiting: await this.command('lrange', 'waiting', 0, -1),
      active: await this.command('lrange', 'active', 0, -1),
      delayed: await this.command('zrange', 'delayed', 0, -1),
      succeeded: (await this.command<string[]>('smembers', 'succeeded')).sort(),
      failed: (await this.command<string[]>('smembers', 'failed')).sort(),
      jobs: (await this.command<string[]>('hkeys', 'jobs')).sort(),
    }
  }

  async tasks(): Promise<
    { id: string; process_id: string; job_ref: string; payload: string; last_error: string | null }[]
  > {
    return (await sql<never>`select * from holdfast_tasks order by job_ref`.execute(this.db)).rows
  }

  async quarantine(): Promise<{ reason: string; job_ref: string }[]> {
    return (await sql<never>`select reason, job_ref from holdfast_quarantine`.execute(this.db)).rows
  }

  async crashes(): Promise<{ job_ref: string; count: number }[]> {
    return (await sql<never>`select job_ref, count from holdfast_crashes`.execute(this.db)).rows
  }

  /** Has a job look as if it had been in flight in two dying processes. */
  async suspect({ id, options }: Job): Promise<void> {
    const jobRef = `${this.prefix}${id}@${options.timestamp}`
    await sql`insert into holdfast_crashes (queue, job_ref, count, last_crash_at)
      values ('bee-queue', ${jobRef}, 2, current_timestamp)`.execute(this.db)
  }

  async recoveries(): Promise<{ job_ref: string; new_job_ref: string; outcome: string }[]> {
    return (await sql<never>`select job_ref, new_job_ref, outcome from holdfast_recoveries`.execute(this.db))
      .rows
  }

  async started(count: number): Promise<void> {
    await until(() => this.ledger.entries('start').length >= count, { what: `${count} handlers start` })
  }

  async succeeded(count: number): Promise<void> {
    await until(async () => (await this.holds()).succeeded.length >= count, { what: `${count} jobs succeed` })
  }

  /** Nothing is in flight any more, neither here nor there. */
  async settled(): Promise<void> {
    await until(
      async () => {
        const { waiting, active, delayed } = await this.holds()
        return waiting.length + active.length + delayed.length === 0 && (await this.tasks()).length === 0
      },
      { what: 'nothing is in flight' },
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children.splice(0)) await child[Symbol.asyncDispose]()
    await this.queue.close(50).catch(() => undefined)
    await this.server('quit')
    await this.database[Symbol.asyncDispose]()
    this.ledger.remove()
  }
}
