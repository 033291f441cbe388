import { sql } from 'kysely'
import {
  chunks,
  inTransaction,
  retryTransient,
  type Store,
  type TransactionStore,
  valuesList,
} from './store.js'

export interface NewTask {
  readonly id: string
  readonly queue: string
  readonly jobRef: string | null
  readonly payload: string
}

export interface OrphanRow extends NewTask {
  readonly attempts: number
}

/**
 * Registers tasks in one statement, only if the process is alive; holding its row keeps it from being fenced until the
 * rows are in. A row that another process has for the same `(queue, jobRef)` is taken over. Answers how many rows were
 * written: all, or 0 when the process is not alive.
 */
export async function insertTasks(
  store: Store,
  processId: string,
  tasks: readonly NewTask[],
): Promise<number> {
  const { db, dialect, tables } = store
  const rows = valuesList(tasks.map(({ id, queue, jobRef, payload }) => [id, queue, jobRef, payload]))
  const taken = ['process_id', 'id', 'payload', 'created_at', 'progress_at', 'claimed_by', 'claim_token']
  const { numAffectedRows } = await retryTransient(store, () =>
    sql`
      with alive as (
        select p.process_id from ${tables.processes} as p
        where p.process_id = ${processId} and p.state = 'alive' ${dialect.lockShared('p')}
      ), task (id, queue, job_ref, payload) as (values ${rows})
      insert into ${tables.tasks} (process_id, id, queue, job_ref, payload, created_at, attempts)
      select alive.process_id, task.id, task.queue, task.job_ref, task.payload, ${dialect.now}, 0
      from alive cross join task
      ${dialect.onConflictReplace(
        ['queue', 'job_ref'],
        [...taken, 'claim_expires_at', 'attempts', 'retry_at', 'last_error'],
      )}`.execute(db),
  )
  return Number(numAffectedRows)
}

/** Ends tasks of a process. Answers the ids that were still its own: the others are lost to it. */
export async function deleteTasks(
  store: Store,
  processId: string,
  ids: readonly string[],
): Promise<Set<string>> {
  // In the caller's transaction a retry is the caller's: ours would only meet an aborted one.
  if (store.db.isTransaction) return deleteLocked(store, processId, ids)
  if (ids.length === 1) return retryTransient(store, () => deleteOne(store, processId, ids[0]!))
  return inTransaction(store, (inner) => deleteLocked(inner, processId, ids))
}

async function deleteOne({ db, tables }: Store, processId: string, id: string): Promise<Set<string>> {
  const { numAffectedRows } = await sql`
    delete from ${tables.tasks}
    where process_id = ${processId} and id = ${id} and claim_token is null`.execute(db)
  return new Set(numAffectedRows === 1n ? [id] : [])
}

/** Locks in primary-key order first, so that two batches can't wait for each other. */
async function deleteLocked(
  { db, tables }: Store,
  processId: string,
  ids: readonly string[],
): Promise<Set<string>> {
  const { rows } = await sql<{ id: string }>`
    select id from ${tables.tasks}
    where process_id = ${processId} and id in (${sql.join(ids)}) and claim_token is null
    order by process_id, id for update`.execute(db)
  const found = rows.map(({ id }) => id)
  if (found.length > 0) {
    await sql`
      delete from ${tables.tasks} where process_id = ${processId} and id in (${sql.join(found)})`.execute(db)
  }
  return new Set(found)
}

/**
 * Of tasks that a transaction deletes: which rows are there (it has not committed), and which of them nobody has locked
 * (it was rolled back).
 */
export function uncommittedTasks(
  store: Store,
  processId: string,
  ids: readonly string[],
): Promise<{ present: ReadonlySet<string>; free: ReadonlySet<string> }> {
  return inTransaction(store, async ({ db, tables }) => {
    const mine = sql`from ${tables.tasks} where process_id = ${processId} and id in (${sql.join(ids)})`
    const free = await sql<{
      id: string
    }>`select id ${mine} order by process_id, id for update skip locked`.execute(db)
    const present = await sql<{ id: string }>`select id ${mine}`.execute(db)
    return {
      present: new Set(present.rows.map(({ id }) => id)),
      free: new Set(free.rows.map(({ id }) => id)),
    }
  })
}

const RELEASED = 'released:'

/**
 * The owner of tasks that their process gave back alive. No process has this id, so they are orphans at once; a real
 * process id has exactly two colons, so the two kinds can't be confused.
 */
export const releasedOwner = (processId: string): string => `${RELEASED}${processId}`

export const isReleasedOwner = (processId: string): boolean =>
  processId.startsWith(RELEASED) && processId.split(':').length > 3

/** Gives one task back, with a new payload where one is given. False when it was no longer this process's. */
export async function releaseTask(
  { db, tables }: Store,
  processId: string,
  id: string,
  payload?: string,
): Promise<boolean> {
  const { numAffectedRows } = await sql`
    update ${tables.tasks}
    set process_id = ${releasedOwner(processId)}${payload === undefined ? sql`` : sql`, payload = ${payload}`}
    where process_id = ${processId} and id = ${id} and claim_token is null`.execute(db)
  return numAffectedRows === 1n
}

export interface OrphanOwner {
  readonly processId: string
  readonly state: 'dead' | 'released' | null
  readonly orphanedForMs: number | null
}

/**
 * The processes that own rows but are not alive, found by one index probe per owner: the rows themselves are not read,
 * however many there are.
 */
export async function orphanOwners({ db, dialect, tables }: Store): Promise<OrphanOwner[]> {
  const { rows } = await sql<OrphanOwner>`
    with recursive owner (process_id) as (
      select min(process_id) from ${tables.tasks}
      union all
      select (select min(t.process_id) from ${tables.tasks} as t where t.process_id > owner.process_id)
      from owner where owner.process_id is not null
    )
    select owner.process_id as "processId", p.state, ${dialect.msSince(sql.ref('p.lease_expires_at'))} as "orphanedForMs"
    from owner left join ${tables.processes} as p on p.process_id = owner.process_id
    where owner.process_id is not null and (p.process_id is null or p.state <> 'alive')
    order by owner.process_id`.execute(db)
  return rows
}

/** Locks the next orphans of one process in primary-key order; rows another recovery holds are passed over. */
export async function lockOrphans(
  { db, dialect, tables }: TransactionStore,
  { owner, queues, after, limit }: { owner: string; queues: readonly string[]; after: string; limit: number },
): Promise<OrphanRow[]> {
  const { rows } = await sql<OrphanRow>`
    select id, queue, job_ref as "jobRef", payload, attempts from ${tables.tasks}
    where process_id = ${owner} and id > ${after} and queue in (${sql.join(queues)})
      and claim_token is null and (retry_at is null or retry_at <= ${dialect.now})
    order by process_id, id limit ${sql.lit(limit)} for update skip locked`.execute(db)
  return rows
}

export async function deleteOrphans(
  { db, tables }: Store,
  owner: string,
  ids: readonly string[],
): Promise<void> {
  if (ids.length === 0) return
  await sql`delete from ${tables.tasks} where process_id = ${owner} and id in (${sql.join(ids)})`.execute(db)
}

/** Keeps an orphan whose recovery failed, to be tried again after `retryIn` ms. */
export async function postponeOrphan(
  { db, dialect, tables }: Store,
  { owner, id, error, retryIn }: { owner: string; id: string; error: string; retryIn: number },
): Promise<void> {
  await sql`
    update ${tables.tasks}
    set attempts = attempts + 1, last_error = ${error}, retry_at = ${dialect.after(retryIn)}
    where process_id = ${owner} and id = ${id}`.execute(db)
}

/** Rows of a dead process that belong to queues nobody here has an adapter for. */
export async function countOtherQueues(
  { db, tables }: Store,
  owner: string,
  queues: readonly string[],
): Promise<{ queue: string; tasks: number }[]> {
  const { rows } = await sql<{ queue: string; tasks: number | string }>`
    select queue, count(*) as tasks from ${tables.tasks}
    where process_id = ${owner} and queue not in (${sql.join(queues)}) group by queue`.execute(db)
  return rows.map(({ queue, tasks }) => ({ queue, tasks: Number(tasks) }))
}

export async function countTasks({ db, tables }: Store): Promise<{ queue: string; tasks: number }[]> {
  const { rows } = await sql<{ queue: string; tasks: number | string }>`
    select queue, count(*) as tasks from ${tables.tasks} group by queue order by queue`.execute(db)
  return rows.map(({ queue, tasks }) => ({ queue, tasks: Number(tasks) }))
}

/** Which of these jobs have a task row. */
export async function registeredJobs(
  { db, tables }: Store,
  queue: string,
  jobRefs: readonly string[],
): Promise<Set<string>> {
  const found = new Set<string>()
  for (const refs of chunks(jobRefs)) {
    const { rows } = await sql<{ job_ref: string }>`
      select job_ref from ${tables.tasks} where queue = ${queue} and job_ref in (${sql.join(refs)})`.execute(
      db,
    )
    for (const { job_ref } of rows) found.add(job_ref)
  }
  return found
}
