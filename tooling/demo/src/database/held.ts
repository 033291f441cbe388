import type { AnyDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'
import type { Kind } from './enqueue.js'

export interface HeldJob {
  readonly job: number
  readonly kind: Kind
}

/**
 * What a dead worker held when it died. Exact only once its connections are gone: a statement it had sent may still
 * commit after its death. What has been recovered of it by now is counted, too.
 */
export async function readHeld(
  db: AnyDatabase,
  { worker, processId }: { worker: string; processId: string | null },
): Promise<HeldJob[]> {
  const { rows } = await sql<HeldJob>`
    select job, kind from demo_jobs
    where job in (select job from demo_held where worker = ${worker})
      or job in (select job from demo_recoveries where from_process = ${processId})
    order by job`.execute(db)
  return rows
}

/** How many connections a worker still has; its name for the database is in their `application_name`. */
export async function countConnections(db: AnyDatabase, applicationName: string): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    select count(*)::int as count from pg_stat_activity
    where datname = current_database() and application_name = ${applicationName}`.execute(db)
  return rows[0]!.count
}
