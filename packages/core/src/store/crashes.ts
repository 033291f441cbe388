import { sql } from 'kysely'
import { chunks, type Store, valuesList } from './store.js'

/** How often each of these jobs was in flight in a dying process, as far as `window` ms reach back. */
export async function readCrashes(
  { db, dialect, tables }: Store,
  queue: string,
  jobRefs: readonly string[],
  window: number,
): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  for (const refs of chunks(jobRefs)) {
    const { rows } = await sql<{ job_ref: string; count: number | string }>`
      select job_ref, count from ${tables.crashes}
      where queue = ${queue} and job_ref in (${sql.join(refs)}) and last_crash_at > ${dialect.after(-window)}`.execute(
      db,
    )
    for (const { job_ref, count } of rows) counts.set(job_ref, Number(count))
  }
  return counts
}

/** Writes crash counts; a job that goes on under a new identity takes its count along. */
export async function writeCrashes(
  { db, dialect, tables }: Store,
  queue: string,
  counts: ReadonlyMap<string, number>,
): Promise<void> {
  for (const some of chunks([...counts])) {
    const rows = some.map(([jobRef, count]) => [queue, jobRef, count, dialect.now])
    await sql`
      insert into ${tables.crashes} (queue, job_ref, count, last_crash_at) values ${valuesList(rows)}
      ${dialect.onConflictReplace(['queue', 'job_ref'], ['count', 'last_crash_at'])}`.execute(db)
  }
}

/** Takes back one crash of each of these jobs. */
export async function uncountCrashes(
  { db, tables }: Store,
  queue: string,
  jobRefs: readonly string[],
): Promise<void> {
  for (const refs of chunks(jobRefs)) {
    await sql`
      update ${tables.crashes} set count = count - 1
      where queue = ${queue} and job_ref in (${sql.join(refs)}) and count > 0`.execute(db)
  }
}

/** Copies the crash count of a job to the identity under which it goes on. */
export async function copyCrashes(
  { db, dialect, tables }: Store,
  queue: string,
  from: string,
  to: string,
): Promise<void> {
  await sql`
    insert into ${tables.crashes} (queue, job_ref, count, last_crash_at)
    select c.queue, ${to}, c.count, c.last_crash_at from ${tables.crashes} as c
    where c.queue = ${queue} and c.job_ref = ${from}
    ${dialect.onConflictReplace(['queue', 'job_ref'], ['count', 'last_crash_at'])}`.execute(db)
}

export async function pruneCrashes({ db, dialect, tables }: Store, window: number): Promise<void> {
  await sql`delete from ${tables.crashes} where last_crash_at < ${dialect.after(-window)}`.execute(db)
}
