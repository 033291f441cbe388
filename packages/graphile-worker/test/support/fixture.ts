import { inspect } from 'node:util'
import { Child, foundSoon, freshDatabase, requiredUrl, type TestDatabase, until } from '@holdfast/chaos'
import { migrate } from '@holdfast/core'
import type { TaskSpec } from 'graphile-worker'
import { type RawBuilder, sql } from 'kysely'
import type { FetchedJob } from '../../src/fetched-job.js'
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
  readonly createdAt: Date
}

export interface TaskState {
  readonly id: string
  readonly processId: string
  readonly payload: string
  readonly kind: string
  readonly lastError: string | null
}

export interface FixtureOptions {
  /** Where the database is; the leg's server by default. */
  readonly serverUrl?: string
  /** Of graphile-worker. */
  readonly schema?: string
  /** The monitor is in a MySQL of its own. */
  readonly monitorInMySql?: boolean
  /** The package whose schema graphile-worker's tables have, as of an older version. @default the leg's */
  readonly schemaOf?: typeof graphile
}

/** A database with graphile-worker and Holdfast, a ledger of what handlers did, and gates that let handlers end. */
export class Fixture implements AsyncDisposable {
  readonly #children: Child[]

  private constructor(
    readonly database: TestDatabase,
    readonly schema: string,
    readonly monitorDatabase: TestDatabase,
    children: Child[] = [],
  ) {
    this.#children = children
  }

  static async create(options: FixtureOptions = {}): Promise<Fixture> {
    const { serverUrl, schema = 'graphile_worker', schemaOf = graphile } = options
    const database = await freshDatabase(serverUrl)
    const { db } = database
    await migrateGraphile(database.url, schema, schemaOf)
    const monitorDatabase = options.monitorInMySql
      ? await freshDatabase(requiredUrl('HOLDFAST_MYSQL_URL'))
      : database
    await migrate(monitorDatabase.db)
    await sql`create table ledger (n bigserial, what text, job bigint, attempts int, pid int)`.execute(db)
    await sql`create table gates (name text primary key)`.execute(db)
    await sql`create table unmet (name text references gates deferrable initially deferred)`.execute(db)
    await sql`create table first_runs (name text primary key, task text)`.execute(db)
    return new Fixture(database, schema, monitorDatabase)
  }

  get db(): TestDatabase['db'] {
    return this.database.db
  }

  /** The same database with graphile-worker in one more schema. It ends with this. */
  async tenant(schema: string): Promise<Fixture> {
    await migrateGraphile(this.database.url, schema)
    return new Fixture(this.database, schema, this.monitorDatabase, this.#children)
  }

  /** One of graphile-worker's objects. */
  of(name: string): RawBuilder<unknown> {
    return sql.id(this.schema, name)
  }

  /** @param given env: for instance another version of graphile-worker; url: another way to the database */
  async worker({
    env = {},
    ...options
  }: Partial<WorkerOptions> & { env?: Record<string, string> } = {}): Promise<Child> {
    const child = this.child(options, env)
    await child.message('ready')
    return child
  }

  /** One that is perhaps never ready. It ends with the test. */
  child(options: Partial<WorkerOptions>, env: Record<string, string> = {}): Child {
    const { schema, database, monitorDatabase } = this
    const adapter = schema === 'graphile_worker' ? options.adapter : { schema, ...options.adapter }
    const elsewhere = monitorDatabase === database ? {} : { monitorUrl: monitorDatabase.url }
    const child = new Child(new URL('./worker.ts', import.meta.url), {
      options: { url: database.url, ...elsewhere, ...options, adapter },
      env,
    })
    this.#children.push(child)
    foundSoon(child, monitorDatabase)
    return child
  }

  /** Adds a job and answers its id. */
  async add(
    task: 'guarded' | 'handed' | 'tracked' | 'named' | 'listening' | 'batch',
    payload: unknown = {},
    spec: TaskSpec = {},
  ): Promise<string> {
    const { rows } = await sql<{ id: string }>`
      select id::text as id from ${this.of('add_job')}(${task}, ${JSON.stringify(payload)}::json,
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
        j.last_error as "lastError", j.is_available as available, j.run_at <= now() as due, j.created_at as "createdAt"
      from ${this.of('_private_jobs')} j join ${this.of('_private_tasks')} t on t.id = j.task_id
      left join ${this.of('_private_job_queues')} q on q.id = j.job_queue_id order by j.id`.execute(this.db)
    return rows
  }

  /** The fetch that a job is locked by. */
  async fetchOf(id: string): Promise<FetchedJob & { readonly lockedAt: number }> {
    const { rows } = await sql<{ lockId: string; attempts: number; lockedAt: Date }>`
      select locked_by as "lockId", attempts::int as attempts, locked_at as "lockedAt"
      from ${this.of('_private_jobs')} where id = ${id}::bigint`.execute(this.db)
    const { lockId, attempts, lockedAt } = rows[0]!
    return { id, lockId, attempts, lockedAt: lockedAt.getTime(), renewals: 0 }
  }

  /** Spares a test graphile-worker's own backoff. */
  async hurry(): Promise<void> {
    await sql`update ${this.of('_private_jobs')} set run_at = now() where run_at > now()`.execute(this.db)
  }

  async lockedQueues(): Promise<string[]> {
    const { rows } = await sql<{ queue_name: string }>`
      select queue_name from ${this.of('_private_job_queues')} where locked_by is not null`.execute(this.db)
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
    await this.#written('start', count)
  }

  async finished(count: number): Promise<void> {
    await this.#written('finish', count)
  }

  /** Says what there is instead when it isn't. */
  async #written(what: 'start' | 'finish', count: number): Promise<void> {
    try {
      await until(async () => (await this.ledger(what)).length >= count)
    } catch {
      const [ledger, jobs, tasks] = [await this.ledger(), await this.jobs(), await this.tasks()]
      const outputs = this.#children.map(({ pid, output }) => ({ pid, output }))
      throw new Error(inspect({ expected: `${count} × ${what}`, ledger, jobs, tasks, outputs }, { depth: 4 }))
    }
  }

  /** Holdfast's rows. */
  async tasks(): Promise<TaskState[]> {
    const { rows } = await sql<Omit<TaskState, 'kind'>>`
      select id, process_id as ${sql.ref('processId')}, payload, last_error as ${sql.ref('lastError')}
      from holdfast_tasks order by id`.execute(this.monitorDatabase.db)
    return rows.map((row) => ({ ...row, kind: JSON.parse(row.payload).kind }))
  }

  async crashes(): Promise<{ jobRef: string; count: number }[]> {
    const { rows } = await sql<{ jobRef: string; count: number }>`
      select job_ref as ${sql.ref('jobRef')}, count from holdfast_crashes order by job_ref`.execute(
      this.monitorDatabase.db,
    )
    return rows
  }

  async quarantine(): Promise<{ jobRef: string; reason: string }[]> {
    const { rows } = await sql<{ jobRef: string; reason: string }>`
      select job_ref as ${sql.ref('jobRef')}, reason from holdfast_quarantine order by id`.execute(
      this.monitorDatabase.db,
    )
    return rows
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children.splice(0)) await child[Symbol.asyncDispose]()
    await this.database[Symbol.asyncDispose]()
    if (this.monitorDatabase !== this.database) await this.monitorDatabase[Symbol.asyncDispose]()
  }
}

async function migrateGraphile(connectionString: string, schema: string, schemaOf = graphile): Promise<void> {
  const utils = await schemaOf.makeWorkerUtils({ connectionString, schema })
  await utils.migrate()
  await utils.release()
}
