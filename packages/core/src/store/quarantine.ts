import { sql } from 'kysely'
import { chunks, type Store, valuesList } from './store.js'

export interface QuarantineRecord {
  readonly id: string
  /** The full id of the task that ended. */
  readonly taskId: string
  readonly processId: string
  readonly queue: string
  readonly jobRef: string | null
  /** The stored text, byte for byte. */
  readonly payload: string
  readonly reason: string
  readonly lastError: string
  readonly crashes: number
}

export async function insertQuarantine(
  { db, dialect, tables }: Store,
  records: readonly QuarantineRecord[],
): Promise<void> {
  for (const some of chunks(records)) {
    const rows = some.map((r) => [
      ...[r.id, r.taskId, r.processId, r.queue, r.jobRef, r.payload, r.reason, r.lastError, r.crashes],
      dialect.now,
    ])
    await sql`
      insert into ${tables.quarantine}
        (id, task_id, process_id, queue, job_ref, payload, reason, last_error, crashes, quarantined_at)
      values ${valuesList(rows)}`.execute(db)
  }
}

export async function countQuarantine({ db, tables }: Store): Promise<number> {
  const { rows } = await sql<{ count: number | string }>`
    select count(*) as count from ${tables.quarantine}`.execute(db)
  return Number(rows[0]!.count)
}

export interface QuarantineRow extends QuarantineRecord {
  readonly quarantinedMsAgo: number
}

export interface QuarantineFilter {
  readonly queue?: string | undefined
  /** Entries after this one. */
  readonly after?: string | undefined
  readonly limit: number
}

/** Entries without their payloads, which may be large; the latest first. */
export async function listQuarantine(
  { db, dialect, tables }: Store,
  { queue, after, limit }: QuarantineFilter,
): Promise<Omit<QuarantineRow, 'payload'>[]> {
  const ofQueue = queue === undefined ? sql`` : sql`and q.queue = ${queue}`
  const older =
    after === undefined
      ? sql``
      : sql`and exists (
          select 1 from ${tables.quarantine} as last
          where last.id = ${after} and q.quarantined_at <= last.quarantined_at
            and (q.quarantined_at < last.quarantined_at or q.id > last.id))`
  const { rows } = await sql<Omit<QuarantineRow, 'payload'>>`
    select ${columns(dialect)} from ${tables.quarantine} as q where 1 = 1 ${ofQueue} ${older}
    order by q.quarantined_at desc, q.id limit ${sql.lit(limit)}`.execute(db)
  return rows.map(normalized)
}

export async function findQuarantined(
  { db, dialect, tables }: Store,
  id: string,
  forUpdate = false,
): Promise<QuarantineRow | undefined> {
  const { rows } = await sql<QuarantineRow>`
    select ${columns(dialect)}, q.payload from ${tables.quarantine} as q where q.id = ${id}
    ${forUpdate ? sql`for update` : sql``}`.execute(db)
  return rows[0] && normalized(rows[0])
}

/** Gives a locked entry another jobRef. */
export async function setQuarantinedJobRef({ db, tables }: Store, id: string, jobRef: string): Promise<void> {
  await sql`update ${tables.quarantine} set job_ref = ${jobRef} where id = ${id}`.execute(db)
}

export async function deleteQuarantined({ db, tables }: Store, id: string): Promise<boolean> {
  const { numAffectedRows } = await sql`delete from ${tables.quarantine} where id = ${id}`.execute(db)
  return numAffectedRows === 1n
}

const columns = ({ msSince }: Store['dialect']) => sql`
  q.id, q.task_id as ${sql.id('taskId')}, q.process_id as ${sql.id('processId')}, q.queue,
  q.job_ref as ${sql.id('jobRef')}, q.reason, q.last_error as ${sql.id('lastError')}, q.crashes,
  ${msSince(sql.ref('q.quarantined_at'))} as ${sql.id('quarantinedMsAgo')}`

const normalized = <T extends Omit<QuarantineRow, 'payload'>>(row: T): T => ({
  ...row,
  crashes: Number(row.crashes),
  quarantinedMsAgo: Number(row.quarantinedMsAgo),
})
