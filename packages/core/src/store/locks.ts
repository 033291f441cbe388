import { sql } from 'kysely'
import { AHEAD, type Store } from './store.js'

export interface LockAttempt {
  /** The term of the lock when it is ours now. */
  readonly term: number | undefined
  /** Milliseconds until the next attempt can succeed. */
  readonly waitMs: number
}

export interface HeldLock {
  readonly name: string
  readonly holder: string
  readonly term: number
}

export const gcLockName = (queue: string): string => `gc:${queue}`

export async function ensureLock({ db, dialect, tables }: Store, name: string): Promise<void> {
  await sql`
    insert into ${tables.locks} (name, term) values (${name}, 0) ${dialect.onConflictKeep(['name'])}`.execute(
    db,
  )
}

/**
 * Takes the lock unless a living process holds it unexpired or a sweep ended less than `interval` ago; raises `term`.
 * A sweeper that was killed must not keep the others waiting: whoever was wrongly taken for dead is stopped by `term`.
 */
export async function acquireLock(
  store: Store,
  { name, holder, ttl, interval }: { name: string; holder: string; ttl: number; interval: number },
): Promise<LockAttempt> {
  const { db, dialect, tables } = store
  const { numAffectedRows } = await sql`
    update ${tables.locks}
    set holder = ${holder}, term = term + 1, acquired_at = ${dialect.now}, expires_at = ${dialect.after(ttl)}
    where name = ${name}
      and (holder is null or expires_at < ${dialect.now} or acquired_at > ${dialect.after(AHEAD)}
        or not exists (
          select 1 from ${tables.processes} as p
          where p.process_id = holder and p.state = 'alive' and p.lease_expires_at >= ${dialect.now}))
      and (last_run_at is null or last_run_at <= ${dialect.after(-interval)} or last_run_at > ${dialect.after(AHEAD)})`.execute(
    db,
  )
  const { rows } = await sql<{
    holder: string | null
    term: number | string
    held: number | string | null
    ran: number | string | null
  }>`
    select holder, term, ${dialect.msSince(sql.ref('expires_at'))} as held,
      ${dialect.msSince(sql.ref('last_run_at'))} as ran
    from ${tables.locks} where name = ${name}`.execute(db)
  const row = rows[0]
  if (row === undefined) {
    await ensureLock(store, name)
    return { term: undefined, waitMs: 0 }
  }
  if (numAffectedRows === 1n && row.holder === holder) return { term: Number(row.term), waitMs: 0 }
  const untilFree = row.holder === null || row.held === null ? 0 : Math.min(-Number(row.held), interval)
  const untilDue = row.ran === null ? 0 : interval - Number(row.ran)
  return { term: undefined, waitMs: Math.max(0, untilFree, untilDue) }
}

/** Prolongs the lock by `ttl`. False when `term` is no longer ours: another sweeper took over. */
export async function renewLock(
  store: Store,
  { name, holder, term, ttl }: HeldLock & { ttl: number },
): Promise<boolean> {
  const { db, dialect, tables } = store
  await sql`
    update ${tables.locks} set expires_at = ${dialect.after(ttl)}
    where name = ${name} and holder = ${holder} and term = ${term}`.execute(db)
  return holdsLock(store, { name, holder, term })
}

export async function holdsLock({ db, tables }: Store, { name, holder, term }: HeldLock): Promise<boolean> {
  const { rows } = await sql`
    select 1 as held from ${tables.locks}
    where name = ${name} and holder = ${holder} and term = ${term}`.execute(db)
  return rows.length === 1
}

/** Gives the lock back and records when the sweep ended. False for another holder's, or another term's: left alone. */
export async function releaseLock(
  { db, dialect, tables }: Store,
  { name, holder, term }: HeldLock,
): Promise<boolean> {
  const { numAffectedRows } = await sql`
    update ${tables.locks}
    set holder = null, acquired_at = null, expires_at = null, last_run_at = ${dialect.now}
    where name = ${name} and holder = ${holder} and term = ${term}`.execute(db)
  return numAffectedRows === 1n
}
