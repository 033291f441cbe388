import type { AnyDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'
import { ms } from './clock.js'
import type { Kind } from './enqueue.js'

export interface LedgerEntry {
  readonly what: 'start' | 'finish' | 'fail'
  readonly job: number
  readonly worker: string
  readonly processId: string | null
  /** Milliseconds of the database's clock, as everywhere here. */
  readonly at: number
}

/** A row of Holdfast's history of recoveries. */
export interface RecoveryEntry {
  /** Null when it is none of the demo's jobs. */
  readonly job: number | null
  /** With the prefix `released:` when that process gave the job back alive. */
  readonly fromProcess: string
  readonly byProcess: string
  readonly outcome: string
  readonly at: number
}

/** What must be gone in the end. */
export interface Remains {
  /** Jobs in graphile-worker. */
  readonly jobs: number
  /** Tasks in Holdfast. */
  readonly tasks: number
  readonly quarantined: number
}

/** All that is left in the database when everybody has stopped. */
export interface Evidence {
  readonly jobs: readonly { readonly job: number; readonly kind: Kind }[]
  /** In the order in which it was written. */
  readonly ledger: readonly LedgerEntry[]
  readonly recoveries: readonly RecoveryEntry[]
  readonly remains: Remains
}

export async function readEvidence(db: AnyDatabase): Promise<Evidence> {
  const jobs = await sql<Evidence['jobs'][number]>`select job, kind from demo_jobs order by job`.execute(db)
  const recoveries = await sql<RecoveryEntry>`
    select job, from_process as "fromProcess", by_process as "byProcess", outcome,
      ${ms(sql.ref('recovered_at'))} as at
    from demo_recoveries order by recovered_at, job`.execute(db)
  const remains = await sql<Remains>`
    select (select count(*)::int from graphile_worker._private_jobs) as jobs,
      (select count(*)::int from holdfast_tasks) as tasks,
      (select count(*)::int from holdfast_quarantine) as quarantined`.execute(db)
  return {
    jobs: jobs.rows,
    ledger: await readLedger(db),
    recoveries: recoveries.rows,
    remains: remains.rows[0]!,
  }
}

export async function readLedger(db: AnyDatabase): Promise<LedgerEntry[]> {
  const { rows } = await sql<LedgerEntry>`
    select what, job, worker, process_id as "processId", ${ms(sql.ref('at'))} as at
    from ledger order by entry`.execute(db)
  return rows
}
