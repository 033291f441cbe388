import { randomUUID } from 'node:crypto'
import type { AnyDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'
import type { DecidedJob, JobOutcome, Orphan, QueueAdapter, RecoveryContext } from '../../src/index.js'
import { dialect } from './sql.js'

/** Where a process may kill or hang itself in the middle of a recovery. */
export type Point = 'before expand' | 'before recover' | 'after rename' | 'after recover'

export interface ElsewhereOptions {
  readonly name?: string
  /** Adds a job again when it is told again, as a queue without idempotent writes does. */
  readonly naive?: boolean
  /** Refs whose recovery throws. */
  readonly failing?: ReadonlySet<string>
  /** Every job that it makes runnable gets a new ref: `a`, `a~1f3c…`. */
  readonly renames?: boolean
  /** A row stands for the jobs that are held under the lock which is its payload; recovery takes them from it. */
  readonly guards?: boolean
  at?(point: Point, jobs: readonly DecidedJob[]): void | Promise<void>
}

/** The tables of a queue in a database of its own: what may run, and an append-only ledger of every call. */
export async function createElsewhere(db: AnyDatabase): Promise<void> {
  const { id, text } = dialect.types
  await sql`create table done (recovery_id ${id} primary key)`.execute(db)
  await sql`create table queued (ref ${id} not null, recovery_id ${id} not null)`.execute(db)
  await sql`create table held (lock_id ${id} not null, ref ${id} primary key, begun int not null)`.execute(db)
  await sql`create table calls (ref ${id} not null, recovery_id ${text} not null, by_pid int not null,
    crashes int not null, payload ${text} not null)`.execute(db)
}

/** Locks jobs in the queue, as a worker does that is about to run them, or runs them. */
export async function hold(
  queue: AnyDatabase,
  lock: string,
  jobRefs: readonly string[],
  begun = true,
): Promise<void> {
  for (const ref of jobRefs) {
    await sql`insert into held values (${lock}, ${ref}, ${begun ? 1 : 0})`.execute(queue)
  }
}

/** A queue elsewhere: each job is written in a transaction of the queue's own. */
export function elsewhereAdapter(queue: AnyDatabase, options: ElsewhereOptions = {}): QueueAdapter {
  const { name = 'elsewhere', guards = false, at } = options
  const add = (job: DecidedJob, context: RecoveryContext): Promise<JobOutcome> =>
    queue.transaction().execute((trx) => addJob(trx, job, context, options))
  const expand = async (orphans: readonly Orphan[]) => {
    await at?.('before expand', [])
    const jobs = await Promise.all(orphans.map((orphan) => heldBy(queue, orphan)))
    return jobs.flat()
  }
  return Object.freeze<QueueAdapter>({
    name,
    capabilities: { atomicRecovery: false, preservesJobId: true, delay: true },
    ...(guards ? { expand } : {}),
    async recover(jobs, context) {
      await at?.('before recover', jobs)
      const outcomes: JobOutcome[] = []
      for (const job of jobs) outcomes.push(await add(job, context))
      await at?.('after recover', jobs)
      return outcomes
    },
  })
}

async function heldBy(queue: AnyDatabase, orphan: Orphan) {
  const { rows } = await sql<{ ref: string; begun: number }>`
    select ref, begun from held where lock_id = ${orphan.payload as string} order by ref`.execute(queue)
  return rows.map(({ ref, begun }) => ({ orphan, jobRef: ref, started: begun === 1 }))
}

async function addJob(
  trx: AnyDatabase,
  job: DecidedJob,
  { rename }: RecoveryContext,
  { naive = false, guards = false, renames = false, failing, at }: ElsewhereOptions,
): Promise<JobOutcome> {
  const { recoveryId, jobRef, orphan, crashes, decision } = job
  const ref = jobRef ?? orphan.taskId
  if (guards) await sql`delete from held where ref = ${ref}`.execute(trx)
  if (decision.kind === 'quarantine') return { kind: 'quarantined' }
  if (failing?.has(ref)) throw new Error(`the queue refuses ${ref}`)
  await sql`insert into calls values (${ref}, ${recoveryId}, ${process.pid}, ${crashes},
    ${JSON.stringify(orphan.payload)})`.execute(trx)
  if (renames) {
    const there = await sql`select 1 as found from queued where ref = ${ref}`.execute(trx)
    if (there.rows.length > 0) return { kind: 'alreadyThere' }
    const anew = `${ref.split('~', 1)[0]}~${randomUUID().slice(0, 8)}`
    await sql`insert into queued values (${anew}, ${recoveryId})`.execute(trx)
    await rename(orphan, anew)
    await at?.('after rename', [job])
    return { kind: 'requeued', jobRef: anew }
  }
  const { rows } = await sql`select 1 as found from done where recovery_id = ${recoveryId}`.execute(trx)
  if (naive || rows.length === 0) {
    if (!naive) await sql`insert into done values (${recoveryId})`.execute(trx)
    await sql`insert into queued values (${ref}, ${recoveryId})`.execute(trx)
  }
  return { kind: 'requeued', jobRef }
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
