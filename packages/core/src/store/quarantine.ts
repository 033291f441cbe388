import { sql } from 'kysely'
import { chunks, type Store, valuesList } from './store.js'

export interface QuarantineRecord {
  readonly id: string
  readonly processId: string
  readonly queue: string
  readonly jobRef: string | null
  /** The stored text, byte for byte. */
  readonly payload: string
  readonly reason: string
  readonly lastError: string | null
  readonly crashes: number
}

export async function insertQuarantine(
  { db, dialect, tables }: Store,
  records: readonly QuarantineRecord[],
): Promise<void> {
  for (const some of chunks(records)) {
    const rows = some.map((r) => [
      ...[r.id, r.processId, r.queue, r.jobRef, r.payload, r.reason, r.lastError, r.crashes],
      dialect.now,
    ])
    await sql`
      insert into ${tables.quarantine}
        (id, process_id, queue, job_ref, payload, reason, last_error, crashes, quarantined_at)
      values ${valuesList(rows)}`.execute(db)
  }
}

export async function countQuarantine({ db, tables }: Store): Promise<number> {
  const { rows } = await sql<{ count: number | string }>`
    select count(*) as count from ${tables.quarantine}`.execute(db)
  return Number(rows[0]!.count)
}
