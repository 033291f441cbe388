import { Child, freshDatabase, type TestDatabase, until } from '@holdfast/chaos'
import { migrate } from '@holdfast/core'
import type { TaskSpec } from 'graphile-worker'
import { sql } from 'kysely'
import { graphile } from './graphile.js'
import type { WorkerOptions } from './worker.js'

export interface JobState {
  readonly id: string
  readonly identifier: string
  readonly payload: string
  readonly queueName: string | null
  readonly priority: number
  readonly attempts: number
  readonly maxAttempts: number
  readonly key: string | null
  readonly flags: Record<string, true> | null
  readonly lockedBy: string | null
  readonly lastError: string | null
  readonly available: boolean
  readonly due: boolean
}

/** A database with graphile-worker, Holdfast, a ledger of what handlers did, and gates that let handlers end. */
export class Fixture implements AsyncDisposable {
  readonly #children: Child[] = []

  private constructor(readonly database: TestDatabase) {}

  static async create(serverUrl?: string): Promise<Fixture> {
    const database = await freshDatabase(serverUrl)
    const { db } = database
    const utils = await graphile.makeWorkerUtils({ connectionString: database.url })
    await utils.migrate()
    await utils.release()
    await migrate(db)
    await sql`create table ledger (n bigserial, what text, job bigint, attempts int, pid int)`.execute(db)
    await sql`create table gates (name text primary key)`.execute(db)
    return new Fixture(database)
  }

  get db(): TestDatabase['db'] {
    return this.database.db
  }

  async worker(options: Omit<WorkerOptions, 'url'> = {}): Promise<Child> {
    const script = new URL('./worker.ts', import.meta.url)
    const child = new Child(script, { options: { url: this.database.url, ...options } })
    this.#children.push(child)
    await child.message('ready')
    return child
  }

  /** Adds a job and answers its id. */
  async add(
    task: 'guarded' | 'handed' | 'listening' | 'batch',
    payload: unknown = {},
    spec: TaskSpec = {},
  ): Promise<string> {
    const { rows } = await sql<{ id: string }>`
      select id::text as id from graphile_worker.add_job(${task}, ${JSON.stringify(payload)}::json,
        queue_name => ${spec.queueName ?? null}, max_attempts => ${spec.maxAttempts ?? null}::int,
        job_key => ${spec.jobKey ?? null}, priority => ${spec.priority ?? null}::int,
        flags => ${spec.flags ?? null}::text[])`.execute(this.db)
    return rows[0]!.id
  }

  async openGate(name: string): Promise<void> {
    await sql`insert into gates values (${name})`.execute(this.db)
  }

  async jobs(): Promise<JobState[]> {
    const { rows } = await sql<JobState>`
      select j.id::text as id, t.identifier, j.payload::text as payload, q.queue_name as "queueName", j.priority,
        j.attempts, j.max_attempts as "maxAttempts", j.key, j.flags, j.locked_by as "lockedBy",
        j.last_error as "lastError", j.is_available as available, j.run_at <= now() as due
      from graphile_worker._private_jobs j join graphile_worker._private_tasks t on t.id = j.task_id
      left join graphile_worker._private_job_queues q on q.id = j.job_queue_id order by j.id`.execute(this.db)
    return rows
  }

  async lockedQueues(): Promise<string[]> {
    const { rows } = await sql<{ queue_name: string }>`
      select queue_name from graphile_worker._private_job_queues where locked_by is not null`.execute(this.db)
    return rows.map(({ queue_name }) => queue_name)
  }

  /** What the handlers did, oldest first, as `start 1 by 4242`. */
  async ledger(
    what?: 'start' | 'finish' | 'effect' | 'query',
  ): Promise<{ what: string; job: string; attempts: number; pid: number }[]> {
    const { rows } = await sql<{ what: string; job: string; attempts: number; pid: number }>`
      select what, job::text as job, attempts, pid from ledger
      where ${what ?? null}::text is null or what = ${what ?? null} order by n`.execute(this.db)
    return rows
  }

  async started(count: number): Promise<void> {
    await until(async () => (await this.ledger('start')).length >= count, { what: `${count} handlers start` })
  }

  async finished(count: number): Promise<void> {
    await until(async () => (await this.ledger('finish')).length >= count, {
      what: `${count} handlers finish`,
    })
  }

  async tasks(): Promise<{ id: string; processId: string; kind: string }[]> {
    const { rows } = await sql<{ id: string; processId: string; kind: string }>`
      select id, process_id as "processId", payload::json->>'kind' as kind from holdfast_tasks order by id`.execute(
      this.db,
    )
    return rows
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children.splice(0)) await child[Symbol.asyncDispose]()
    await this.database[Symbol.asyncDispose]()
  }
}
