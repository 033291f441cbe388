import { type AnyDatabase, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import type { QueueAdapter } from '../../src/index.js'
import { dialect } from './sql.js'

/** A queue that is one table: a job is runnable when its row is there. `enqueued` is an append-only ledger. */
export async function createTableQueue(db: AnyDatabase): Promise<void> {
  const { id, text } = dialect.types
  await sql`create table jobs (ref ${id} primary key, body ${text} not null)`.execute(db)
  await sql`create table enqueued (ref ${id} not null, recovery_id ${text} not null, by_pid int not null)`.execute(
    db,
  )
}

export interface TableQueueOptions {
  readonly name?: string
  /** Refs whose recovery throws. */
  readonly failing?: ReadonlySet<string>
}

export function tableQueueAdapter({ name = 'table', failing }: TableQueueOptions = {}): QueueAdapter {
  return Object.freeze<QueueAdapter>({
    name,
    capabilities: { atomicRecovery: true, preservesJobId: true, delay: false },
    async recover(jobs, { trx }) {
      const outcomes = []
      for (const { jobRef, orphan, decision, recoveryId } of jobs) {
        const ref = jobRef ?? orphan.taskId
        if (failing?.has(ref)) throw new Error(`the queue refuses ${ref}`)
        if (decision.kind === 'quarantine') {
          outcomes.push({ kind: 'quarantined' } as const)
          continue
        }
        await sql`insert into jobs (ref, body) values (${ref}, ${JSON.stringify(orphan.payload)})`.execute(
          trx,
        )
        await sql`insert into enqueued values (${ref}, ${recoveryId}, ${process.pid})`.execute(trx)
        outcomes.push({ kind: 'requeued', jobRef } as const)
      }
      return outcomes
    },
  })
}

export async function enqueuedRefs(db: AnyDatabase): Promise<string[]> {
  const { rows } = await sql<{ ref: string }>`select ref from enqueued order by ref`.execute(db)
  return rows.map(({ ref }) => ref)
}

/** Waits until no task is in flight. */
export async function rowsGone(db: AnyDatabase): Promise<void> {
  await until(async () => (await taskRows(db)).length === 0, { what: 'rows end' })
}

export async function taskRows(
  db: AnyDatabase,
): Promise<{ process_id: string; id: string; job_ref: string | null }[]> {
  const { rows } = await sql<{ process_id: string; id: string; job_ref: string | null }>`
    select process_id, id, job_ref from holdfast_tasks order by process_id, id`.execute(db)
  return rows
}
