import { sql } from 'kysely'
import type { MonitorConfig } from '../options.js'
import { inTransaction, type Store } from './store.js'

export interface NewProcess {
  readonly processId: string
  readonly hostname: string
  readonly pid: number
  readonly version: string
}

export interface ProcessRow {
  readonly processId: string
  readonly state: 'alive' | 'dead' | 'released'
  readonly hostname: string
  readonly pid: number
  readonly label: string | null
  readonly lastSeenMsAgo: number
  readonly leaseEndsInMs: number
  readonly tasks: number
}

/** Makes the process known and alive. Answers the database's clock in ms. */
export async function insertProcess(
  store: Store,
  process: NewProcess,
  config: MonitorConfig,
): Promise<number> {
  const { db, dialect, tables } = store
  const { processId, hostname, pid, version } = process
  const { heartbeatInterval, orphanThreshold, label = null, capacity = null } = config
  await sql`
    insert into ${tables.processes} (process_id, state, hostname, pid, label, version, capacity,
      heartbeat_interval_ms, orphan_threshold_ms, beat, started_at, last_seen_at, lease_expires_at)
    values (${processId}, 'alive', ${hostname}, ${pid}, ${label}, ${version}, ${capacity},
      ${Math.ceil(heartbeatInterval)}, ${Math.ceil(orphanThreshold)}, 0, ${dialect.now}, ${dialect.now},
      ${dialect.after(orphanThreshold)})`.execute(db)
  return databaseMs(store)
}

async function databaseMs({ db, dialect }: Store): Promise<number> {
  const { rows } = await sql<{ now: number }>`select ${dialect.nowMs} as now`.execute(db)
  return rows[0]!.now
}

/** One heartbeat. Answers the database's clock in ms, or undefined when the process is no longer alive. */
export async function beat(
  store: Store,
  processId: string,
  orphanThreshold: number,
): Promise<number | undefined> {
  const { db, dialect, tables } = store
  const { numAffectedRows } = await sql`
    update ${tables.processes}
    set beat = beat + 1, last_seen_at = ${dialect.now}, lease_expires_at = ${dialect.after(orphanThreshold)}
    where process_id = ${processId} and state = 'alive'`.execute(db)
  return numAffectedRows === 0n ? undefined : databaseMs(store)
}

/**
 * Fences every process whose lease has run out by the database's clock, under a lock on its row: after this none of
 * its late writes is accepted. Only those whose own `orphanThreshold` is at most `gapFreeMs` may be judged.
 */
export function fenceExpired(store: Store, self: string, gapFreeMs: number): Promise<string[]> {
  return inTransaction(store, async ({ db, dialect, tables }) => {
    const { rows } = await sql<{ process_id: string }>`
      select process_id from ${tables.processes}
      where state = 'alive' and lease_expires_at < ${dialect.now}
        and orphan_threshold_ms <= ${Math.floor(gapFreeMs)} and process_id <> ${self}
      order by process_id for update skip locked`.execute(db)
    const fenced: string[] = []
    for (const { process_id } of rows) {
      const { numAffectedRows } = await sql`
        update ${tables.processes} set state = 'dead'
        where process_id = ${process_id} and state = 'alive' and lease_expires_at < ${dialect.now}`.execute(
        db,
      )
      if (numAffectedRows === 1n) fenced.push(process_id)
    }
    return fenced
  })
}

/** Ends this process's life by its own will. False when it was no longer alive. */
export async function releaseProcess({ db, tables }: Store, processId: string): Promise<boolean> {
  const { numAffectedRows } = await sql`
    update ${tables.processes} set state = 'released'
    where process_id = ${processId} and state = 'alive'`.execute(db)
  return numAffectedRows === 1n
}

/** Forgets processes that are not alive and own nothing any more. */
export async function deleteEmptyProcesses({ db, tables }: Store): Promise<void> {
  await sql`
    delete from ${tables.processes}
    where state <> 'alive'
      and not exists (select 1 from ${tables.tasks} as t where t.process_id = ${tables.processes}.process_id)`.execute(
    db,
  )
}

export async function listProcesses({ db, dialect, tables }: Store): Promise<ProcessRow[]> {
  const { rows } = await sql<ProcessRow & { tasks: number | string }>`
    select process_id as "processId", state, hostname, pid, label,
      ${dialect.msSince(sql.ref('last_seen_at'))} as "lastSeenMsAgo",
      -${dialect.msSince(sql.ref('lease_expires_at'))} as "leaseEndsInMs",
      (select count(*) from ${tables.tasks} as t where t.process_id = p.process_id) as tasks
    from ${tables.processes} as p order by started_at, process_id`.execute(db)
  return rows.map((row) => ({ ...row, tasks: Number(row.tasks) }))
}
