import { type Expression, sql } from 'kysely'
import type { MonitorConfig } from '../options.js'
import { AHEAD, inTransaction, type Store } from './store.js'

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
  const now = await dialect.writeAndReadClock(
    db,
    sql`
    insert into ${tables.processes} (process_id, state, hostname, pid, label, version, capacity,
      heartbeat_interval_ms, orphan_threshold_ms, beat, epoch, started_at, last_seen_at, lease_expires_at)
    values (${processId}, 'alive', ${hostname}, ${pid}, ${label}, ${version}, ${capacity},
      ${Math.ceil(heartbeatInterval)}, ${Math.ceil(orphanThreshold)}, 0, 0, ${dialect.now}, ${dialect.now},
      ${dialect.after(orphanThreshold)})`,
  )
  return now!
}

/** One heartbeat. Answers the database's clock in ms, or undefined when the process is no longer alive. */
export function beat(
  { db, dialect, tables }: Store,
  processId: string,
  orphanThreshold: number,
): Promise<number | undefined> {
  return dialect.writeAndReadClock(
    db,
    sql`
    update ${tables.processes}
    set beat = beat + 1, last_seen_at = ${dialect.now}, lease_expires_at = ${dialect.after(orphanThreshold)}
    where process_id = ${processId} and state = 'alive'`,
  )
}

export interface Judge {
  readonly processId: string
  readonly heartbeatInterval: number
  /** For how long (ms) its heartbeats have succeeded without a gap. */
  readonly gapFreeMs: number
  /** Milliseconds since its last heartbeat, by its own clock. */
  readonly beatAgeMs: number
  /** Least milliseconds since its last heartbeat for anyone to count as dead, whatever its own lease. @default 0 */
  readonly patience?: number
}

/**
 * Fences every process that is dead by the database's clock, under a lock on its row: after this none of its late
 * writes is accepted. What the judge must be for that is checked in the same statement, since its clock, the
 * database's or the process itself may have stood still since it looked:
 * - it is alive, and the database agrees with it on when it last beat;
 * - it has beaten without a gap for as long as the other's lease;
 * - an outage that fell between two of its heartbeats, unseen by it, could not be the reason: such a one lasts up to
 *   two of its intervals, and the other needs one before and one after. Where its lease is shorter than all that, it
 *   is given the rest.
 */
export async function fenceExpired(
  store: Store,
  judge: Judge,
  mayJudge: (orphanThreshold: number) => boolean,
): Promise<string[]> {
  const { dialect, tables } = store
  const { processId, heartbeatInterval, gapFreeMs, beatAgeMs, patience = 0 } = judge
  const grace = sql`greatest(0, ${Math.ceil(2 * heartbeatInterval)} + 2 * heartbeat_interval_ms - orphan_threshold_ms,
    ${Math.ceil(patience)} - orphan_threshold_ms)`
  const dead = sql`state = 'alive'
    and (lease_expires_at < ${dialect.after(sql`-${grace}`)} or last_seen_at > ${dialect.after(AHEAD)})`
  // Looked up without locks first: mostly nobody is dead, and heartbeats shouldn't wait for whoever looks.
  const { rows: suspected } = await sql<{ process_id: string }>`
    select process_id from ${tables.processes}
    where ${dead} and orphan_threshold_ms <= ${Math.floor(gapFreeMs)} and process_id <> ${processId}`.execute(
    store.db,
  )
  if (suspected.length === 0) return []
  return inTransaction(store, async ({ db }) => {
    const { rows } = await sql<{ process_id: string; orphan_threshold_ms: number }>`
      select process_id, orphan_threshold_ms from ${tables.processes}
      where process_id in (${sql.join(suspected.map(({ process_id }) => process_id))}) and ${dead}
        and exists (
          select 1 from ${tables.processes} as judge
          where judge.process_id = ${processId} and judge.state = 'alive'
            and judge.last_seen_at >= ${dialect.after(-(beatAgeMs + heartbeatInterval / 2))}
            and judge.last_seen_at <= ${dialect.after(AHEAD)})
      order by process_id for update skip locked`.execute(db)
    const fenced: string[] = []
    for (const { process_id, orphan_threshold_ms } of rows) {
      // The statement may have waited for longer than what it was told held true.
      if (!mayJudge(Number(orphan_threshold_ms))) continue
      const { numAffectedRows } = await sql`
        update ${tables.processes} set state = 'dead' where process_id = ${process_id} and ${dead}`.execute(
        db,
      )
      if (numAffectedRows === 1n) fenced.push(process_id)
    }
    return fenced
  })
}

/**
 * Ends this process's life by its own will. Waits for registrations under way, so that each of their rows finds its
 * process released rather than gone.
 */
export function releaseProcess(store: Store, processId: string): Promise<void> {
  return inTransaction(store, async ({ db, tables }) => {
    await sql`select process_id from ${tables.processes} where process_id = ${processId} for update`.execute(
      db,
    )
    await sql`
      update ${tables.processes} set state = 'released'
      where process_id = ${processId} and state = 'alive'`.execute(db)
  })
}

/** Whether nobody has found this process dead. */
export async function isAlive({ db, tables }: Store, processId: string): Promise<boolean> {
  const { rows } = await sql`
    select 1 as alive from ${tables.processes} where process_id = ${processId} and state = 'alive'`.execute(
    db,
  )
  return rows.length === 1
}

/** The process whose row a job has. */
export interface JobHolder {
  readonly processId: string
  /** `dead`: its lease has run out, or it gave the job back; `recovering`: the job is just being made runnable, or is. */
  readonly state: 'alive' | 'dead' | 'recovering'
}

/** Whose row a job has, if any. */
export async function jobHolder(
  { db, dialect, tables }: Store,
  queue: string,
  jobRef: string,
): Promise<JobHolder | undefined> {
  const { rows } = await sql<JobHolder>`
    select t.process_id as ${sql.id('processId')},
      case when t.claim_token is not null then 'recovering'
        when p.process_id is null then 'dead' else 'alive' end as ${sql.id('state')}
    from ${tables.tasks} as t
    left join ${tables.processes} as p
      on p.process_id = t.process_id and p.state = 'alive' and p.lease_expires_at >= ${dialect.now}
    where t.queue = ${queue} and t.job_ref = ${jobRef}`.execute(db)
  return rows[0]
}

/** Forgets processes that are not alive and own nothing any more. */
export async function deleteEmptyProcesses(store: Store): Promise<void> {
  const { tables } = store
  const owned = (processId: Expression<unknown>) =>
    sql`exists (select 1 from ${tables.tasks} as t where t.process_id = ${processId})`
  const { rows } = await sql<{ process_id: string }>`
    select process_id from ${tables.processes} as p
    where p.state <> 'alive' and not ${owned(sql.ref('p.process_id'))} order by process_id`.execute(store.db)
  for (const { process_id } of rows) {
    await sql`
      delete from ${tables.processes}
      where process_id = ${process_id} and state <> 'alive' and not ${owned(sql`${process_id}`)}`.execute(
      store.db,
    )
  }
}

export async function listProcesses({ db, dialect, tables }: Store): Promise<ProcessRow[]> {
  const { rows } = await sql<ProcessRow & { tasks: number | string }>`
    select process_id as ${sql.id('processId')}, state, hostname, pid, label,
      ${dialect.msSince(sql.ref('last_seen_at'))} as ${sql.id('lastSeenMsAgo')},
      -${dialect.msSince(sql.ref('lease_expires_at'))} as ${sql.id('leaseEndsInMs')},
      (select count(*) from ${tables.tasks} as t where t.process_id = p.process_id and t.ended is null) as tasks
    from ${tables.processes} as p order by started_at, process_id`.execute(db)
  return rows.map((row) => ({
    ...row,
    lastSeenMsAgo: Number(row.lastSeenMsAgo),
    leaseEndsInMs: Number(row.leaseEndsInMs),
    tasks: Number(row.tasks),
  }))
}
