import { inspect } from 'node:util'
import { Child, foundSoon, freshDatabase, type TestDatabase, until } from '@holdfast/chaos'
import { migrate } from '@holdfast/core'
import { sql } from 'kysely'
import { makeBoss, type TestBoss } from './boss.js'
import type { Payload } from './handlers.js'
import type { WorkerOptions } from './worker.js'

export interface JobRow {
  readonly id: string
  readonly name: string
  readonly state: string
  readonly data: Record<string, unknown>
  readonly retry_count: number
  readonly retry_limit: number
  readonly output: Record<string, unknown> | null
  readonly priority: number
  readonly due: boolean
}

export interface FixtureOptions {
  /** Where the database is; the leg's server by default. */
  readonly serverUrl?: string
  readonly schema?: string
  /** What Postgres makes of that. @default the same */
  readonly tables?: string
  /** Of pg-boss here, which sends jobs. */
  readonly boss?: object
  /** Of the queue `q`. */
  readonly queue?: object
}

/** A database with pg-boss and Holdfast, a ledger of what handlers did, and gates that let handlers end. */
export class Fixture implements AsyncDisposable {
  readonly #children: Child[] = []

  private constructor(
    readonly database: TestDatabase,
    readonly boss: TestBoss,
    readonly schema: string,
    /** As Postgres has it. */
    readonly tables: string,
  ) {}

  static async create({
    serverUrl,
    schema = 'pgboss',
    tables = schema,
    queue,
    ...options
  }: FixtureOptions = {}): Promise<Fixture> {
    const database = await freshDatabase(serverUrl)
    const { db, url } = database
    const boss = makeBoss({ connectionString: url, schema, ...options.boss })
    // Told when the database is dropped under it.
    boss.on('error', () => undefined)
    await boss.start()
    await boss.createQueue('q', { name: 'q', ...queue })
    await migrate(db)
    await sql`create table ledger (n bigserial, what text, job text, pid int, detail text)`.execute(db)
    await sql`create table gates (name text primary key)`.execute(db)
    return new Fixture(database, boss, schema, tables)
  }

  get db(): TestDatabase['db'] {
    return this.database.db
  }

  async worker({
    env = {},
    ...options
  }: Partial<WorkerOptions> & { env?: Record<string, string> } = {}): Promise<Child> {
    const child = new Child(new URL('./worker.ts', import.meta.url), {
      options: { url: this.database.url, schema: this.schema, ...options },
      env,
    })
    this.#children.push(child)
    foundSoon(child, this.database)
    await child.message('ready')
    return child
  }

  async add(payload: Payload = {}, options: object = {}, queue = 'q'): Promise<string> {
    const id = await this.boss.send(queue, payload, options)
    if (id === null) throw new Error('pg-boss sent no job')
    return id
  }

  /** For the next test: no jobs, and not these queues. */
  async empty(queues: readonly string[] = []): Promise<void> {
    await sql`delete from ${sql.id(this.tables, 'job')}`.execute(this.db)
    for (const queue of queues) await this.boss.deleteQueue(queue).catch(() => undefined) // Never made.
  }

  async openGate(name: string): Promise<void> {
    await sql`insert into gates values (${name})`.execute(this.db)
  }

  async jobs(queue?: string): Promise<JobRow[]> {
    const { rows } = await sql<JobRow>`
      select id::text as id, name, state::text as state, data, retry_count, retry_limit, output, priority,
        start_after <= now() as due
      from ${sql.id(this.tables, 'job')} where ${queue ?? null}::text is null or name = ${queue ?? null}
      order by created_on, id`.execute(this.db)
    return rows.filter(({ name }) => !name.startsWith('__pgboss'))
  }

  async job(id: string): Promise<JobRow> {
    const job = (await this.jobs()).find((candidate) => candidate.id === id)
    if (job === undefined) throw new Error(`no job ${id}`)
    return job
  }

  /** What the handlers did, oldest first. */
  async ledger(what?: string): Promise<{ what: string; job: string; pid: number; detail: string | null }[]> {
    const { rows } = await sql<{ what: string; job: string; pid: number; detail: string | null }>`
      select what, job, pid, detail from ledger
      where ${what ?? null}::text is null or what = ${what ?? null} order by n`.execute(this.db)
    return rows
  }

  async started(count: number): Promise<void> {
    await this.written('start', count)
  }

  async finished(count: number): Promise<void> {
    await this.written('finish', count)
  }

  /** Says what there is instead when it isn't. */
  async written(what: string, count: number): Promise<void> {
    try {
      await until(async () => (await this.ledger(what)).length >= count)
    } catch {
      const [ledger, jobs, tasks] = [await this.ledger(), await this.jobs(), await this.tasks()]
      const outputs = this.#children.map(({ pid, output }) => ({ pid, output }))
      throw new Error(inspect({ expected: `${count} × ${what}`, ledger, jobs, tasks, outputs }, { depth: 4 }))
    }
  }

  async inState(state: string, count: number): Promise<void> {
    await until(async () => (await this.jobs()).filter((job) => job.state === state).length >= count, {
      what: `${count} jobs are ${state}`,
    })
  }

  async tasks(): Promise<{ id: string; process_id: string; job_ref: string; payload: string }[]> {
    return (await sql<never>`select * from holdfast_tasks order by job_ref`.execute(this.db)).rows
  }

  /** No row of Holdfast's is left. */
  async settled(): Promise<void> {
    await until(async () => (await this.tasks()).length === 0, { what: 'no task is in flight' })
  }

  async crashes(): Promise<{ job_ref: string; count: number }[]> {
    return (await sql<never>`select job_ref, count from holdfast_crashes order by job_ref`.execute(this.db))
      .rows
  }

  async quarantine(): Promise<{ id: string; job_ref: string; reason: string }[]> {
    return (
      await sql<never>`select id, job_ref, reason from holdfast_quarantine order by id`.execute(this.db)
    ).rows
  }

  async recoveries(): Promise<{ job_ref: string; outcome: string }[]> {
    return (await sql<never>`select job_ref, outcome from holdfast_recoveries`.execute(this.db)).rows
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children.splice(0)) await child[Symbol.asyncDispose]()
    await this.boss.stop({ graceful: false })
    await this.database[Symbol.asyncDispose]()
  }
}
