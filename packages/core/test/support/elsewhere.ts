import type { AnyDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'
import type { DecidedJob, JobOutcome, QueueAdapter } from '../../src/index.js'
import { dialect } from './sql.js'

/** Where a process may kill or hang itself in the middle of a recovery. */
export type Point = 'before recover' | 'after recover'

export interface ElsewhereOptions {
  readonly name?: string
  /** Adds a job again when it is told again, as a queue without idempotent writes does. */
  readonly naive?: boolean
  /** Refs whose recovery throws. */
  readonly failing?: ReadonlySet<string>
  at?(point: Point, jobs: readonly DecidedJob[]): void | Promise<void>
}

/** The tables of a queue in a database of its own: what may run, and an append-only ledger of every call. */
export async function createElsewhere(db: AnyDatabase): Promise<void> {
  const { id, text } = dialect.types
  await sql`create table done (recovery_id ${id} primary key)`.execute(db)
  await sql`create table queued (ref ${id} not null, recovery_id ${id} not null)`.execute(db)
  await sql`create table calls (ref ${id} not null, recovery_id ${text} not null, by_pid int not null,
    crashes int not null, payload ${text} not null)`.execute(db)
}

/** A queue elsewhere: each job is written in a transaction of the queue's own. */
export function elsewhereAdapter(queue: AnyDatabase, options: ElsewhereOptions = {}): QueueAdapter {
  const { name = 'elsewhere', naive = false, failing, at } = options
  const add = (job: DecidedJob): Promise<JobOutcome> =>
    queue.transaction().execute(async (trx) => {
      const { recoveryId, jobRef, orphan, crashes, decision } = job
      if (decision.kind === 'quarantine') return { kind: 'quarantined' }
      const ref = jobRef ?? orphan.taskId
      if (failing?.has(ref)) throw new Error(`the queue refuses ${ref}`)
      await sql`insert into calls values (${ref}, ${recoveryId}, ${process.pid}, ${crashes},
        ${JSON.stringify(orphan.payload)})`.execute(trx)
      const { rows } = await sql`select 1 from done where recovery_id = ${recoveryId}`.execute(trx)
      if (naive || rows.length === 0) {
        if (!naive) await sql`insert into done values (${recoveryId})`.execute(trx)
        await sql`insert into queued values (${ref}, ${recoveryId})`.execute(trx)
      }
      return { kind: 'requeued', jobRef }
    })
  return Object.freeze<QueueAdapter>({
    name,
    capabilities: { atomicRecovery: false, preservesJobId: true, delay: true },
    async recover(jobs) {
      await at?.('before recover', jobs)
      const outcomes: JobOutcome[] = []
      for (const job of jobs) outcomes.push(await add(job))
      await at?.('after recover', jobs)
      return outcomes
    },
  })
}

export interface Call {
  readonly ref: string
  readonly recovery_id: string
  readonly by_pid: number
}

export async function queuedRefs(queue: AnyDatabase): Promise<string[]> {
  const { rows } = await sql<{ ref: string }>`select ref from queued order by ref`.execute(queue)
  return rows.map(({ ref }) => ref)
}

/** Every time the queue was told to add a job. */
export async function calls(queue: AnyDatabase): Promise<Call[]> {
  return (await sql<Call>`select ref, recovery_id, by_pid from calls order by ref`.execute(queue)).rows
}
