import { sql } from 'kysely'
import { exactText } from './exact-text.js'
import {
  columnList,
  INSERTED,
  type Inserted,
  insertedValues,
  jobKey,
  jobsOf,
  type NewTask,
  suspectsAmong,
  type TaskInsertion,
} from './new-tasks.js'
import { isAlive } from './processes.js'
import { inTransaction, retryTransient, type Store, type TransactionStore, valuesList } from './store.js'

/** Milliseconds: who takes jobs over waits for others, and keeps others waiting if it falls silent, for no longer. */
const LIMITS = { locks: 1_000, silence: 3_000 }

/**
 * Registers tasks, only if their process is alive. Mostly nothing stands in their way, and one statement does it. A job that
 * has a row is taken over by a newer attempt; whoever has that row locked is waited for by nobody.
 */
export async function insertTasks(
  store: Store,
  insertion: TaskInsertion,
): Promise<ReadonlyMap<number, Inserted>> {
  const { tasks } = insertion
  const written = await retryTransient(store, () => store.dialect.insertFree(store, insertion))
  const answers = new Map<number, Inserted>(tasks.map(({ nonce }) => [nonce, 'written']))
  const left = tasks.filter(({ nonce }) => !written.has(nonce))
  if (left.length === 0) return answers
  const others = await takeOver(store, { ...insertion, tasks: left })
  return new Map([...answers, ...others])
}

class ProcessIsDead extends Error {}

/** The rows of jobs first, that of the process last: who holds that waits for nobody, so that fencing need not either. */
async function takeOver(store: Store, insertion: TaskInsertion): Promise<Map<number, Inserted>> {
  const { processId, tasks } = insertion
  const dead = new Map<number, Inserted>(tasks.map(({ nonce }) => [nonce, 'dead']))
  if (!(await isAlive(store, processId))) return dead
  try {
    return await inTransaction(store, (inner) =>
      inner.dialect.bounded(inner.db, LIMITS, () => insertInPlaceOf(inner, insertion)),
    )
  } catch (error) {
    if (error instanceof ProcessIsDead) return dead
    // Another process has written one of these jobs since they were looked for.
    const isRace = store.dialect.errorKind(error) === 'duplicate' && jobsOf(tasks) !== undefined
    if (isRace) return new Map(tasks.map(({ nonce }) => [nonce, 'busy']))
    throw error
  }
}

async function insertInPlaceOf(
  store: TransactionStore,
  insertion: TaskInsertion,
): Promise<Map<number, Inserted>> {
  const { db, dialect, tables } = store
  const { processId, epoch, tasks } = insertion
  const suspects = await findSuspects(store, insertion)
  const rows = await rowsOfJobs(store, tasks)
  const answers = new Map<number, Inserted>()
  const replaced: JobRow[] = []
  for (const task of tasks) {
    const row = rows.get(jobKey(task.queue, task.jobRef))
    const may = answerOf(task, row)
    const answer = may === 'written' && suspects.has(task.nonce) ? 'suspect' : may
    answers.set(task.nonce, answer)
    if (answer === 'written' && row !== undefined) replaced.push(row)
  }
  const written = tasks.filter(({ nonce }) => answers.get(nonce) === 'written')
  if (written.length === 0) return answers
  if (replaced.length > 0) {
    const keys = valuesList(replaced.map((row) => [row.processId, row.nonce]))
    await sql`delete from ${tables.tasks} where (process_id, nonce) in (${keys})`.execute(db)
  }
  const values = written.map((task) => [processId, ...insertedValues(task), dialect.now, 0])
  await sql`
    insert into ${tables.tasks} (process_id, ${columnList(INSERTED)}, created_at, attempts)
    values ${valuesList(values)}`.execute(db)
  const { rows: alive } = await sql`
    select process_id from ${tables.processes}
    where process_id = ${processId} and state = 'alive' and epoch <= ${epoch} ${dialect.keyShare}`.execute(db)
  if (alive.length === 0) throw new ProcessIsDead()
  return answers
}

/** The row that a job has. */
interface JobRow {
  readonly processId: string
  readonly nonce: number
  readonly attempt: number
  /** Somebody else has it locked. */
  readonly busy: boolean
}

type StoredJobRow = Readonly<Record<'processId' | 'queue', string>> &
  Readonly<Record<'nonce' | 'attempt', number | string>> & { readonly jobRef: unknown }

/** Locks the rows of these jobs, as far as nobody else has. */
async function rowsOfJobs(
  { db, dialect, tables }: TransactionStore,
  tasks: readonly NewTask[],
): Promise<ReadonlyMap<string, JobRow>> {
  const found = new Map<string, JobRow>()
  const jobs = jobsOf(tasks)
  if (jobs === undefined) return found
  // What is free is read again as it is locked: it may have changed until then.
  for (const busy of [true, false]) {
    const lock = busy ? sql`` : sql`order by process_id, nonce for update skip locked`
    const { rows } = await sql<StoredJobRow>`
      select process_id as ${sql.id('processId')}, nonce, queue, ${dialect.exact('job_ref')} as ${sql.id('jobRef')},
        job_attempt as attempt
      from ${tables.tasks} where (queue, job_ref) in (${jobs}) ${lock}`.execute(db)
    for (const { processId, nonce, queue, jobRef, attempt } of rows) {
      const row = { processId, nonce: Number(nonce), attempt: Number(attempt), busy }
      found.set(jobKey(queue, exactText(jobRef)), row)
    }
  }
  return found
}

/** Whether a task may have the place of its job's row, if there is one. */
function answerOf({ attempt }: NewTask, row: JobRow | undefined): Inserted {
  if (row === undefined) return 'written'
  if (row.busy) return 'busy'
  return attempt > row.attempt || (attempt === 0 && row.attempt === 0) ? 'written' : 'taken'
}

/** Those of the given tasks whose job is a suspect, by nonce. */
async function findSuspects(store: Store, insertion: TaskInsertion): Promise<ReadonlySet<number>> {
  const { tasks, suspectFrom } = insertion
  const jobs = jobsOf(tasks)
  if (suspectFrom === Number.POSITIVE_INFINITY || jobs === undefined) return new Set()
  const { dialect } = store
  const { rows } = await sql<{ queue: string; jobRef: unknown }>`
    select queue, ${dialect.exact('job_ref')} as ${sql.id('jobRef')} ${suspectsAmong(store, insertion, jobs)}`.execute(
    store.db,
  )
  const found = new Set(rows.map(({ queue, jobRef }) => jobKey(queue, exactText(jobRef))))
  const suspects = tasks.filter(({ queue, jobRef }) => found.has(jobKey(queue, jobRef)))
  return new Set(suspects.map(({ nonce }) => nonce))
}
