import { randomBytes } from 'node:crypto'
import { Child, freshDatabase, Ledger, requiredUrl, type TestDatabase, until } from '@holdfast/chaos'
import { migrate } from '@holdfast/core'
import type { Job, JobsOptions, Queue } from 'bullmq'
import type { Redis as RedisClient } from 'ioredis'
import { sql } from 'kysely'
import { bullmq, connectionOf, Redis } from './bull.js'
import type { ChildWorkerOptions, Work } from './worker.js'

/** Where BullMQ keeps ids of jobs. `wait` holds those of a paused queue too, wherever its version has them. */
export type Places = Record<
  'wait' | 'active' | 'delayed' | 'prioritized' | 'completed' | 'failed' | 'waiting-children',
  string[]
>

/** A database with Holdfast, a queue, and a ledger of what processors did. */
export class Fixture implements AsyncDisposable {
  readonly ledger = Ledger.create()
  readonly client: RedisClient
  readonly #children: Child[] = []

  private constructor(
    readonly database: TestDatabase,
    readonly redis: string,
    /** Adds jobs, and hears of their ends. */
    readonly queue: Queue,
  ) {
    this.client = new Redis({ ...connectionOf(redis), maxRetriesPerRequest: null })
    this.client.on('error', () => undefined)
  }

  /** @param sql a server of the test's own; default the leg's */
  static async create(redis: string = requiredUrl('HOLDFAST_REDIS_URL'), sql?: string): Promise<Fixture> {
    const database = await freshDatabase(sql, sql)
    await migrate(database.db)
    const name = `q${randomBytes(5).toString('hex')}`
    const queue = new bullmq.Queue(name, {
      connection: { ...connectionOf(redis), maxRetriesPerRequest: null },
    })
    queue.on('error', () => undefined)
    await queue.waitUntilReady()
    return new Fixture(database, redis, queue)
  }

  get db(): TestDatabase['db'] {
    return this.database.db
  }

  /** The prefix of the queue's keys. */
  get keys(): string {
    return `${this.queue.qualifiedName}:`
  }

  async worker(options: Partial<ChildWorkerOptions> = {}): Promise<Child> {
    const { url } = this.database
    const child = new Child(new URL('./worker.ts', import.meta.url), {
      options: { url, redis: this.redis, ledger: this.ledger.folder, queue: this.queue.name, ...options },
    })
    this.#children.push(child)
    await child.message('ready')
    return child
  }

  async add(work: Work = {}, options: JobsOptions = {}): Promise<Job & { id: string }> {
    return (await this.queue.add('work', work, options)) as Job & { id: string }
  }

  async places(): Promise<Places> {
    const { client, keys } = this
    const [wait, paused, active] = await Promise.all(
      ['wait', 'paused', 'active'].map((list) => client.lrange(keys + list, 0, -1)),
    )
    const sets = ['delayed', 'prioritized', 'completed', 'failed', 'waiting-children'] as const
    const members = await Promise.all(sets.map((set) => client.zrange(keys + set, 0, -1)))
    const inSets = Object.fromEntries(sets.map((set, n) => [set, members[n]]))
    return { ...inSets, wait: [...wait!, ...paused!], active } as Places
  }

  hash(id: string): Promise<Record<string, string>> {
    return this.client.hgetall(this.keys + id)
  }

  async tasks(): Promise<
    { id: string; process_id: string; job_ref: string; payload: string; last_error: string | null }[]
  > {
    return (await sql<never>`select * from holdfast_tasks order by job_ref`.execute(this.db)).rows
  }

  async quarantine(): Promise<{ id: string; reason: string; job_ref: string }[]> {
    return (await sql<never>`select id, reason, job_ref from holdfast_quarantine`.execute(this.db)).rows
  }

  async crashes(): Promise<number[]> {
    const { rows } = await sql<{ count: number }>`select count from holdfast_crashes`.execute(this.db)
    return rows.map(({ count }) => Number(count))
  }

  /** Has a job look as if it had been in flight in two dying processes. */
  async suspect({ id, timestamp }: Job): Promise<void> {
    await sql`insert into holdfast_crashes (queue, job_ref, count, last_crash_at)
      values ('bullmq', ${`${this.keys}${id}@${timestamp}`}, 2, current_timestamp)`.execute(this.db)
  }

  async outcomes(): Promise<string[]> {
    const { rows } = await sql<{ outcome: string }>`select outcome from holdfast_recoveries`.execute(this.db)
    return rows.map(({ outcome }) => outcome)
  }

  async started(count: number): Promise<void> {
    await until(() => this.ledger.entries('start').length >= count, { what: `${count} processors start` })
  }

  async completed(count: number): Promise<void> {
    await until(async () => (await this.places()).completed.length >= count, {
      what: `${count} jobs complete`,
    })
  }

  /** Nothing is in flight any more, neither here nor there. */
  async settled(): Promise<void> {
    await until(
      async () => {
        const { wait, active, delayed, prioritized } = await this.places()
        const inQueue = wait.length + active.length + delayed.length + prioritized.length
        return inQueue === 0 && (await this.tasks()).length === 0
      },
      { what: 'nothing is in flight' },
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children.splice(0)) await child[Symbol.asyncDispose]()
    await this.queue.obliterate({ force: true }).catch(() => undefined)
    await this.queue.close()
    await this.client.quit()
    await this.database[Symbol.asyncDispose]()
    this.ledger.remove()
  }
}
