import { type AnyDatabase, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import type { TaskMonitor, TaskMonitorOptions } from '../../src/index.js'
import type { Fixture } from './fixture.js'

/** No timers run here: what must not happen by itself takes longer than any test. */
const slow = { heartbeatInterval: 3_000, orphanThreshold: 12_000, sweepInterval: 600_000, gcLockTtl: 60_000 }

/** A monitor that is driven piece by piece. */
export const stepped = (fixture: Fixture, options: Partial<TaskMonitorOptions> = {}): TaskMonitor =>
  fixture.monitor({ ...slow, ...options })

/** One that is on the list. */
export async function listedIn(
  fixture: Fixture,
  options?: Partial<TaskMonitorOptions>,
): Promise<TaskMonitor> {
  const one = stepped(fixture, options)
  await one.pingProcess()
  return one
}

/** One that has beaten for long enough to judge those that `addProcess` makes. */
export async function judgeIn(fixture: Fixture, options?: Partial<TaskMonitorOptions>): Promise<TaskMonitor> {
  const one = stepped(fixture, options)
  await until(async () => (await one.pingProcess()) && one.health().gapFreeForMs >= 1_000)
  return one
}

export async function processRows(
  db: AnyDatabase,
): Promise<{ process_id: string; state: string; beat: number }[]> {
  const { rows } = await sql<{ process_id: string; state: string; beat: number | string }>`
    select process_id, state, beat from holdfast_processes order by started_at, process_id`.execute(db)
  return rows.map((row) => ({ ...row, beat: Number(row.beat) }))
}

export async function lockRows(
  db: AnyDatabase,
): Promise<{ name: string; holder: string | null; ran: number | null }[]> {
  const { rows } = await sql<{ name: string; holder: string | null; ran: number | null }>`
    select name, holder, case when last_run_at is null then 0 else 1 end as ran from holdfast_locks
    order by name`.execute(db)
  return rows
}
