import { sql } from 'kysely'
import type { Orphan } from '../adapter.js'
import { exactText } from './exact-text.js'
import type { NewTask } from './new-tasks.js'
import { chunks, type Store, type TransactionStore, valuesList } from './store.js'
import { GIVEN_BACK } from './tasks.js'

/** Why a task is an orphan. */
export type OrphanCause = 'crash' | 'release' | 'overdue'

/** Why the tasks of this owner are orphans. */
export function causeOf({ processId, state }: Pick<OrphanOwner, 'processId' | 'state'>): OrphanCause {
  if (state === 'released') return 'release'
  if (processId.split(':').length <= 3) return 'crash'
  return processId.startsWith(GIVEN_BACK.overdue) ? 'overdue' : 'release'
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

export interface OrphanRow extends Omit<NewTask, 'attempt'> {
  /** A transaction of its holder's has ended it: there is nothing to recover. */
  readonly ended: boolean
  /** How often its recovery has failed. */
  readonly attempts: number
  readonly lastError: string | null
  /** Its crash count, this crash included, where it was counted already: held back, or claimed before. */
  readonly crashes: number | null
}

/** As the database answers it: numbers and texts are as its driver has them. */
type StoredOrphan = Omit<OrphanRow, 'queue' | 'nonce' | 'id' | 'jobRef' | 'payload' | 'ended'> &
  Readonly<Record<'nonce' | 'id' | 'jobRef' | 'payload' | 'ended', unknown>>

/**
 * Locks the next orphans of one process in primary-key order. Passed over are rows that another recovery has locked, or
 * claimed while it lives and its claim lasts.
 */
export async function lockOrphans(
  { db, dialect, tables }: TransactionStore,
  { owner, queue, after, limit }: { owner: string; queue: string; after: number; limit: number },
): Promise<OrphanRow[]> {
  const { rows } = await sql<StoredOrphan>`
    select nonce, ${dialect.exact('id')} as id, ${dialect.exact('job_ref')} as ${sql.id('jobRef')},
      ${dialect.exact('payload')} as payload, on_crash as ${sql.id('onCrash')}, ended, attempts,
      last_error as ${sql.id('lastError')}, crashes
    from ${tables.tasks}
    where process_id = ${owner} and nonce > ${sql.lit(after)} and queue = ${queue}
      and (retry_at is null or retry_at <= ${dialect.now})
      and (claim_token is null or claim_expires_at < ${dialect.now} or not exists (
        select 1 from ${tables.processes} as p
        where p.process_id = claimed_by and p.state = 'alive' and p.lease_expires_at >= ${dialect.now}))
    order by process_id, nonce limit ${sql.lit(limit)} for update skip locked`.execute(db)
  return rows.map(({ nonce, id, jobRef, payload, ended, ...rest }) => ({
    ...rest,
    queue,
    nonce: Number(nonce),
    id: exactText(id)!,
    jobRef: exactText(jobRef),
    payload: exactText(payload)!,
    ended: ended !== null,
  }))
}

export interface Claim {
  /** The process that recovers. */
  readonly by: string
  readonly token: string
}

/** Marks locked orphans as being recovered, for `ttl` ms. */
export async function claimOrphans(
  { db, dialect, tables }: TransactionStore,
  { owner, nonces, claim, ttl }: { owner: string; nonces: readonly number[]; claim: Claim; ttl: number },
): Promise<void> {
  if (nonces.length === 0) return
  await sql`
    update ${tables.tasks}
    set claimed_by = ${claim.by}, claim_token = ${claim.token}, claim_expires_at = ${dialect.after(ttl)}
    where process_id = ${owner} and nonce in (${sql.join(nonces)})`.execute(db)
}

/** Locks claimed orphans: which are still under this claim, and which are gone. The rest are under another's. */
export async function lockClaimed(
  { db, tables }: TransactionStore,
  { owner, nonces, claim }: { owner: string; nonces: readonly number[]; claim: Claim },
): Promise<{ ours: ReadonlySet<number>; gone: ReadonlySet<number> }> {
  if (nonces.length === 0) return { ours: new Set(), gone: new Set() }
  const { rows } = await sql<{ nonce: number | string; token: string | null }>`
    select nonce, claim_token as token from ${tables.tasks}
    where process_id = ${owner} and nonce in (${sql.join(nonces)})
    order by process_id, nonce for update`.execute(db)
  const tokens = new Map(rows.map(({ nonce, token }) => [Number(nonce), token]))
  return {
    ours: new Set(nonces.filter((nonce) => tokens.get(nonce) === claim.token)),
    gone: new Set(nonces.filter((nonce) => !tokens.has(nonce))),
  }
}

/** Notes on claimed orphans that their crash is counted, and as which. */
export async function markCounted(
  { db, tables }: TransactionStore,
  {
    owner,
    nonces,
    claim,
    crashes,
  }: { owner: string; nonces: readonly number[]; claim: Claim; crashes: number },
): Promise<void> {
  await sql`
    update ${tables.tasks} set crashes = ${crashes}
    where process_id = ${owner} and nonce in (${sql.join(nonces)}) and claim_token = ${claim.token}`.execute(
    db,
  )
}

/** Gives a locked orphan another jobRef. */
export async function setJobRef(
  { db, tables }: TransactionStore,
  { owner, nonce, jobRef }: { owner: string; nonce: number; jobRef: string },
): Promise<void> {
  await sql`
    update ${tables.tasks} set job_ref = ${jobRef} where process_id = ${owner} and nonce = ${nonce}`.execute(
    db,
  )
}

export async function deleteOrphans(
  { db, tables }: Store,
  owner: string,
  nonces: readonly number[],
): Promise<void> {
  if (nonces.length === 0) return
  await sql`delete from ${tables.tasks} where process_id = ${owner} and nonce in (${sql.join(nonces)})`.execute(
    db,
  )
}

/**
 * Keeps an orphan whose recovery failed, to be tried again after `retryIn` ms. The token of a claim stays without its
 * claim: the queue may have made the job runnable before it failed, so the former holder's complete is refused still.
 */
export async function postponeOrphan(
  { db, dialect, tables }: Store,
  { owner, nonce, error, retryIn }: { owner: string; nonce: number; error: string; retryIn: number },
): Promise<void> {
  await sql`
    update ${tables.tasks}
    set attempts = attempts + 1, last_error = ${error}, retry_at = ${dialect.after(retryIn)},
      claimed_by = null, claim_expires_at = null
    where process_id = ${owner} and nonce = ${nonce}`.execute(db)
}

/** Holds an orphan back for `ms`; its crash is counted. */
export async function holdOrphan(
  { db, dialect, tables }: Store,
  { owner, nonce, crashes, ms }: { owner: string; nonce: number; crashes: number; ms: number },
): Promise<void> {
  await sql`
    update ${tables.tasks}
    set crashes = ${crashes}, retry_at = ${dialect.after(ms)},
      claimed_by = null, claim_token = null, claim_expires_at = null
    where process_id = ${owner} and nonce = ${nonce}`.execute(db)
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

/** Full ids of those of these tasks that have a row. */
export async function remainingTasks(
  { db, tables }: Store,
  orphans: readonly Pick<Orphan, 'fullId' | 'processId' | 'nonce'>[],
): Promise<Set<string>> {
  const found = new Set<string>()
  const key = (processId: string, nonce: number | string) => `${processId}/${nonce}`
  for (const chunk of chunks(orphans)) {
    const keys = valuesList(chunk.map(({ processId, nonce }) => [processId, nonce]))
    const { rows } = await sql<{ process_id: string; nonce: number | string }>`
      select process_id, nonce from ${tables.tasks} where (process_id, nonce) in (${keys})`.execute(db)
    const present = new Set(rows.map(({ process_id, nonce }) => key(process_id, nonce)))
    for (const { fullId, processId, nonce } of chunk)
      if (present.has(key(processId, nonce))) found.add(fullId)
  }
  return found
}

/** Which of these jobs have a task row. */
export async function registeredJobs(
  { db, dialect, tables }: Store,
  queue: string,
  jobRefs: readonly string[],
): Promise<Set<string>> {
  const found = new Set<string>()
  for (const refs of chunks(jobRefs)) {
    const { rows } = await sql<{ jobRef: unknown }>`
      select ${dialect.exact('job_ref')} as ${sql.id('jobRef')} from ${tables.tasks}
      where queue = ${queue} and job_ref in (${sql.join(refs)})`.execute(db)
    for (const { jobRef } of rows) found.add(exactText(jobRef)!)
  }
  return found
}
