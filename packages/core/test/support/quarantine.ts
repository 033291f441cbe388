import type { AnyDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'

export interface QuarantineRow {
  readonly id: string
  readonly job_ref: string
  readonly payload: string
  readonly reason: string
  readonly last_error: string
  readonly crashes: number
}

export async function quarantinedRows(db: AnyDatabase): Promise<QuarantineRow[]> {
  const { rows } = await sql<QuarantineRow>`
    select id, job_ref, payload, reason, last_error, crashes from holdfast_quarantine order by job_ref`.execute(
    db,
  )
  return rows
}

/** Puts a job where it stands after its fourth crash. */
export async function quarantine(
  db: AnyDatabase,
  id: string,
  { queue = 'table', second = 9, payload = `{"of":"${id}"}` } = {},
): Promise<void> {
  await sql`insert into holdfast_quarantine
      (id, task_id, process_id, queue, job_ref, payload, reason, last_error, crashes, quarantined_at)
    values (${id}, ${`h:1:x/t-${id}`}, 'h:1:x', ${queue}, ${`job-${id}`}, ${payload}, 'too many', 'it died', 4,
      ${`2026-01-01 00:00:0${second}`})`.execute(db)
}
