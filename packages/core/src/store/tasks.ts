import { sql } from 'kysely'
import type { Orphan } from '../adapter.js'
import { fullTaskId } from '../identity.js'
import type { NewTask, TaskInsertion, TaskInsertResult } from './new-tasks.js'
import { chunks, inTransaction, retryTransient, type Store, type TransactionStore } from './store.js'

/** Registers tasks: see `Dialect.insertTasks`. */
export function insertTasks(store: Store, insertion: TaskInsertion): Promise<TaskInsertResult> {
  return retryTransient(store, () => store.dialect.insertTasks(store, insertion))
}

/** Ends tasks of a process. Answers the ids that were still its own: the others are lost to it. */
export async function deleteTasks(
  store: Store,
  processId: string,
  ids: readonly string[],
): Promise<Set<string>> {
  // In the caller's transaction a retry is the caller's: ours would only meet an aborted one. One statement alone: a second
  // could be sent when the caller has rolled back meanwhile, and would delete the row outside of any transaction.
  if (ids.length === 1) {
    const one = () => deleteOne(store, processId, ids[0]!)
    return store.db.isTransaction ? one() : retryTransient(store, one)
  }
  return inTransaction(store, (inner) => deleteLocked(inner, processId, ids))
}

async function deleteOne(
  { db, dialect, tables }: Store,
  processId: string,
  id: string,
): Promise<Set<string>> {
  const statement = sql`
    delete from ${tables.tasks}
    where process_id = ${processId} and id = ${id} and claim_token is null`
  return new Set((await dialect.writesOne(db, statement)) ? [id] : [])
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

/** Notes that tasks of a process have made progress. Answers the ids that are still its own. */
export async function touchTasks(
  { db, dialect, tables }: Store,
  processId: string,
  ids: readonly string[],
): Promise<Set<string>> {
  const mine = new Set<string>()
  for (const some of chunks(ids)) {
    const where = sql`where process_id = ${processId} and id in (${sql.join(some)}) and claim_token is null`
    await sql`update ${tables.tasks} set progress_at = ${dialect.now} ${where}`.execute(db)
    const { rows } = await sql<{ id: string }>`select id from ${tables.tasks} ${where}`.execute(db)
    for (const { id } of rows) mine.add(id)
  }
  return mine
}

/** Whether a task is in flight in this process. */
export async function hasTask({ db, tables }: Store, processId: string, id: string): Promise<boolean> {
  const { rows } = await sql`
    select 1 as found from ${tables.tasks}
    where process_id = ${processId} and id = ${id} and claim_token is null`.execute(db)
  return rows.length === 1
}

/** Why a task is an orphan. */
export type OrphanCause = 'crash' | 'release' | 'overdue'

const GIVEN_BACK = { release: 'released:', overdue: 'overdue:' } as const

/**
 * The owner of tasks that their process gave back alive. No process has this id, so they are orphans at once; a real
 * process id has exactly two colons, so the two kinds can't be confused.
 */
export const givenBackOwner = (processId: string, cause: keyof typeof GIVEN_BACK): string =>
  `${GIVEN_BACK[cause]}${processId}`

/** Why the tasks of this owner are orphans. */
export function causeOf({ processId, state }: Pick<OrphanOwner, 'processId' | 'state'>): OrphanCause {
  if (state === 'released') return 'release'
  if (processId.split(':').length <= 3) return 'crash'
  return processId.startsWith(GIVEN_BACK.overdue) ? 'overdue' : 'release'
}

/** Gives one task back, with a new payload where one is given. False when it was no longer this process's. */
export async function giveBackTask(
  { db, tables }: Store,
  processId: string,
  id: string,
  cause: keyof typeof GIVEN_BACK,
  payload?: string,
): Promise<boolean> {
  const { numAffectedRows } = await sql`
    update ${tables.tasks}
    set process_id = ${givenBackOwner(processId, cause)}${payload === undefined ? sql`` : sql`, payload = ${payload}`}
    where process_id = ${processId} and id = ${id} and claim_token is null`.execute(db)
  return numAffectedRows === 1n
}

export interface OrphanOwner {
  readonly processId: string
  readonly state: 'dead' | 'released' | null
  /** Milliseconds since its lease ended; null when there is no row of it. */
  readonly orphanedForMs: number | null
}

/** Owners found by one statement: databases limit the depth of a recursion. */
const OWNERS_AT_ONCE = 500

/**
 * The processes that own rows but are not alive, found by one index probe per owner: the rows themselves are not read,
 * however many there are.
 */
export async function orphanOwners(store: Store): Promise<OrphanOwner[]> {
  const { db, dialect, tables } = store
  const orphaned: OrphanOwner[] = []
  let after = ''
  for (;;) {
    const { rows } = await sql<OrphanOwner & { alive: number | string }>`
      with recursive owner (process_id, n) as (
        select min(process_id), 1 from ${tables.tasks} where process_id > ${after}
        union all
        select (select min(t.process_id) from ${tables.tasks} as t where t.process_id > owner.process_id), n + 1
        from owner where owner.process_id is not null and n < ${sql.lit(OWNERS_AT_ONCE)}
      )
      select owner.process_id as ${sql.id('processId')}, p.state,
        ${dialect.msSince(sql.ref('p.lease_expires_at'))} as ${sql.id('orphanedForMs')}
      from owner left join ${tables.processes} as p on p.process_id = owner.process_id
      where owner.process_id is not null order by owner.process_id`.execute(db)
    for (const { processId, state, orphanedForMs } of rows) {
      if ((state as string | null) === 'alive') continue
      orphaned.push({
        processId,
        state,
        orphanedForMs: orphanedForMs === null ? null : Number(orphanedForMs),
      })
    }
    if (rows.length < OWNERS_AT_ONCE) return orphaned
    after = rows.at(-1)!.processId
  }
}

export interface OrphanRow extends NewTask {
  /** How often its recovery has failed. */
  readonly attempts: number
  readonly lastError: string | null
  /** Its crash count, this crash included, where it was counted already: held back, or claimed before. */
  readonly crashes: number | null
}

/**
 * Locks the next orphans of one process in primary-key order. Passed over are rows that another recovery has locked, or
 * claimed while it lives and its claim lasts.
 */
export async function lockOrphans(
  { db, dialect, tables }: TransactionStore,
  { owner, queue, after, limit }: { owner: string; queue: string; after: string; limit: number },
): Promise<OrphanRow[]> {
  const { rows } = await sql<OrphanRow>`
    select id, queue, job_ref as ${sql.id('jobRef')}, payload, on_crash as ${sql.id('onCrash')}, attempts,
      last_error as ${sql.id('lastError')}, crashes
    from ${tables.tasks}
    where process_id = ${owner} and id > ${after} and queue = ${queue}
      and (retry_at is null or retry_at <= ${dialect.now})
      and (claim_token is null or claim_expires_at < ${dialect.now} or not exists (
        select 1 from ${tables.processes} as p
        where p.process_id = claimed_by and p.state = 'alive' and p.lease_expires_at >= ${dialect.now}))
    order by process_id, id limit ${sql.lit(limit)} for update skip locked`.execute(db)
  return rows
}

export interface Claim {
  /** The process that recovers. */
  readonly by: string
  readonly token: string
}

/** Marks locked orphans as being recovered, for `ttl` ms. */
export async function claimOrphans(
  { db, dialect, tables }: TransactionStore,
  { owner, ids, claim, ttl }: { owner: string; ids: readonly string[]; claim: Claim; ttl: number },
): Promise<void> {
  if (ids.length === 0) return
  await sql`
    update ${tables.tasks}
    set claimed_by = ${claim.by}, claim_token = ${claim.token}, claim_expires_at = ${dialect.after(ttl)}
    where process_id = ${owner} and id in (${sql.join(ids)})`.execute(db)
}

/** Locks claimed orphans: which are still under this claim, and which are gone. The rest are under another's. */
export async function lockClaimed(
  { db, tables }: TransactionStore,
  { owner, ids, claim }: { owner: string; ids: readonly string[]; claim: Claim },
): Promise<{ ours: ReadonlySet<string>; gone: ReadonlySet<string> }> {
  if (ids.length === 0) return { ours: new Set(), gone: new Set() }
  const { rows } = await sql<{ id: string; token: string | null }>`
    select id, claim_token as token from ${tables.tasks}
    where process_id = ${owner} and id in (${sql.join(ids)})
    order by process_id, id for update`.execute(db)
  const found = new Set(rows.map(({ id }) => id))
  return {
    ours: new Set(rows.filter(({ token }) => token === claim.token).map(({ id }) => id)),
    gone: new Set(ids.filter((id) => !found.has(id))),
  }
}

/** Notes on claimed orphans that their crash is counted, and as which. */
export async function markCounted(
  { db, tables }: TransactionStore,
  { owner, ids, claim, crashes }: { owner: string; ids: readonly string[]; claim: Claim; crashes: number },
): Promise<void> {
  await sql`
    update ${tables.tasks} set crashes = ${crashes}
    where process_id = ${owner} and id in (${sql.join(ids)}) and claim_token = ${claim.token}`.execute(db)
}

/** Gives a locked orphan another jobRef. */
export async function setJobRef(
  { db, tables }: TransactionStore,
  { owner, id, jobRef }: { owner: string; id: string; jobRef: string },
): Promise<void> {
  await sql`
    update ${tables.tasks} set job_ref = ${jobRef} where process_id = ${owner} and id = ${id}`.execute(db)
}

export async function deleteOrphans(
  { db, tables }: Store,
  owner: string,
  ids: readonly string[],
): Promise<void> {
  if (ids.length === 0) return
  await sql`delete from ${tables.tasks} where process_id = ${owner} and id in (${sql.join(ids)})`.execute(db)
}

/**
 * Keeps an orphan whose recovery failed, to be tried again after `retryIn` ms. The token of a claim stays without its
 * claim: the queue may have made the job runnable before it failed, so the former holder's complete is refused still.
 */
export async function postponeOrphan(
  { db, dialect, tables }: Store,
  { owner, id, error, retryIn }: { owner: string; id: string; error: string; retryIn: number },
): Promise<void> {
  await sql`
    update ${tables.tasks}
    set attempts = attempts + 1, last_error = ${error}, retry_at = ${dialect.after(retryIn)},
      claimed_by = null, claim_expires_at = null
    where process_id = ${owner} and id = ${id}`.execute(db)
}

/** Holds an orphan back for `ms`; its crash is counted. */
export async function holdOrphan(
  { db, dialect, tables }: Store,
  { owner, id, crashes, ms }: { owner: string; id: string; crashes: number; ms: number },
): Promise<void> {
  await sql`
    update ${tables.tasks}
    set crashes = ${crashes}, retry_at = ${dialect.after(ms)},
      claimed_by = null, claim_token = null, claim_expires_at = null
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

/** Which of these tasks have a row, by full id. */
export async function remainingTasks(
  { db, tables }: Store,
  orphans: readonly Pick<Orphan, 'processId' | 'taskId'>[],
): Promise<Set<string>> {
  const found = new Set<string>()
  for (const chunk of chunks(orphans)) {
    const keys = sql.join(chunk.map(({ processId, taskId }) => sql`(${processId}, ${taskId})`))
    const { rows } = await sql<{ process_id: string; id: string }>`
      select process_id, id from ${tables.tasks} where (process_id, id) in (${keys})`.execute(db)
    for (const row of rows) found.add(fullTaskId(row.process_id, row.id))
  }
  return found
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
