import type { AnyDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'
import type { Kill } from '../kill.js'
import { ms } from './clock.js'

/** How far the jobs of the killed worker have come back. */
export interface Comeback {
  readonly recovered: number
  readonly firstAt: number | null
  readonly byProcess: string | null
  /** Recovered jobs that another worker has started. */
  readonly restarted: number
  readonly lastStartAt: number | null
}

export async function readComeback(db: AnyDatabase, kill: Kill): Promise<Comeback> {
  const { rows } = await sql<Comeback>`
    with recovered as (
      select job, min(recovered_at) as at, min(by_process) as by_process from demo_recoveries
      where from_process = ${kill.processId} and outcome = 'requeued' group by job
    ), restarted as (
      select recovered.job, min(ledger.at) as at from recovered
      join ledger on ledger.job = recovered.job and ledger.what = 'start' and ledger.at > recovered.at
      group by recovered.job
    )
    select (select count(*)::int from recovered) as recovered,
      (select ${ms(sql`min(at)`)} from recovered) as "firstAt",
      (select by_process from recovered order by at limit 1) as "byProcess",
      (select count(*)::int from restarted) as restarted,
      (select ${ms(sql`max(at)`)} from restarted) as "lastStartAt"`.execute(db)
  return rows[0]!
}
