import { type DecidedJob, type JobOutcome, type Orphan, TaskMonitor } from '@holdfast/core'
import { sql } from 'kysely'
import { type PgBossAdapterOptions, pgBossAdapter } from '../../src/index.js'
import { activeJobs } from '../../src/job-sql.js'
import { jobRefOf, type TaskPayload } from '../../src/payloads.js'
import { inDatabase } from '../../src/run.js'
import { bossTables } from '../../src/tables.js'
import type { Fixture } from './fixture.js'

/** What tests say of a job that was in a dead process's hands. */
type Given = Partial<Pick<DecidedJob, 'decision' | 'crashes'> & Pick<Orphan, 'cause'>>

/** Carries out decisions about jobs of a fixture's, without anyone having to die. */
export class Recovering implements AsyncDisposable {
  private constructor(
    readonly fixture: Fixture,
    readonly monitor: TaskMonitor,
    readonly adapter: ReturnType<typeof pgBossAdapter>,
  ) {}

  static async of(fixture: Fixture, options: Partial<PgBossAdapterOptions> = {}): Promise<Recovering> {
    const { boss, db, schema } = fixture
    const adapter = pgBossAdapter({ boss, db, schema, ...options })
    const monitor = new TaskMonitor({ db, adapters: [adapter] })
    await monitor.start()
    return new Recovering(fixture, monitor, adapter)
  }

  /** Has pg-boss fetch a job. Answers what a task row would hold of it. */
  async fetch(kind: TaskPayload['kind'] = 'track', queue = 'q'): Promise<TaskPayload> {
    const { boss, db, schema } = this.fixture
    const [fetched] = await boss.fetch(queue, { batchSize: 1 })
    const run = inDatabase(db)
    const [active] = await activeJobs(run, bossTables(schema), queue, [fetched!.id])
    const { job, ...attempt } = active!
    if (kind === 'track') return { kind, ...attempt }
    return { kind, ...attempt, job }
  }

  /** As a process that has handed a job off. */
  async handOff(queue = 'q'): Promise<TaskPayload> {
    const payload = await this.fetch('handOff', queue)
    await this.fixture.boss.complete(queue, payload.id)
    return payload
  }

  async recover(payloads: readonly TaskPayload[], given: Given = {}): Promise<readonly JobOutcome[]> {
    const decided = payloads.map((payload): DecidedJob => {
      const { cause = 'crash', decision = { kind: 'requeue' }, crashes = 1 } = given
      const jobRef = jobRefOf(payload)
      const ids = {
        fullId: `p:1:a/${payload.id}`,
        processId: 'p:1:a',
        taskId: payload.id,
        nonce: 1,
        queue: 'pg-boss',
      }
      const orphan: Orphan = { ...ids, jobRef, payload, cause, onCrash: null, orphanedForMs: 10 }
      return { orphan, jobRef, decision, crashes, recoveryId: payload.id }
    })
    return this.fixture.db
      .transaction()
      .execute((trx) => this.adapter.recover(decided, { trx } as never)) as Promise<readonly JobOutcome[]>
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.monitor.stop({ drain: 0 })
  }
}

/** The whole row of a job, as text, without what a recovery changes. */
export async function rowOf({ db, schema }: Fixture, id: string): Promise<string> {
  const { rows } = await sql<{ row: string }>`
    select (to_jsonb(job) - array['state', 'start_after', 'output', 'completed_on', 'keep_until', 'heartbeat_on'])::text as row
    from ${sql.id(schema, 'job')} as job where id = ${id}::uuid`.execute(db)
  return rows[0]!.row
}
