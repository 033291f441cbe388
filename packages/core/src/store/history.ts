import { sql } from 'kysely'
import { fullTaskId } from '../identity.js'
import { chunks, type Store, valuesList } from './store.js'

export interface RecoveryRecord {
  readonly id: string
  readonly taskId: string
  readonly queue: string
  readonly jobRef: string | null
  readonly newJobRef: string | null
  readonly fromProcess: string
  readonly byProcess: string
  readonly cause: string
  readonly crashes: number
  readonly outcome: string
  readonly orphanedForMs: number | null
}

export async function insertRecoveries(
  { db, dialect, tables }: Store,
  records: readonly RecoveryRecord[],
): Promise<void> {
  for (const some of chunks(records)) {
    const rows = some.map((r) => [
      ...[r.id, r.taskId, r.queue, r.jobRef, r.newJobRef, r.fromProcess, r.byProcess, r.cause],
      ...[r.crashes, r.outcome, dialect.now, r.orphanedForMs === null ? null : Math.round(r.orphanedForMs)],
    ])
    await sql`
      insert into ${tables.recoveries}
        (id, task_id, queue, job_ref, new_job_ref, from_process, by_process, cause, crashes, outcome,
          recovered_at, orphaned_for_ms)
      values ${valuesList(rows)}`.execute(db)
  }
}

/** Which of these tasks of a process were recovered, as far as the history goes back. */
export async function recoveredTasks(
  { db, tables }: Store,
  processId: string,
  ids: readonly string[],
): Promise<ReadonlySet<string>> {
  if (ids.length === 0) return new Set()
  const fullIds = new Map(ids.map((id) => [fullTaskId(processId, id), id]))
  const { rows } = await sql<{ task_id: string }>`
    select task_id from ${tables.recoveries}
    where from_process = ${processId} and task_id in (${sql.join([...fullIds.keys()])})`.execute(db)
  return new Set(rows.map(({ task_id }) => fullIds.get(task_id)!))
}

export async function pruneRecoveries({ db, dialect, tables }: Store, retention: number): Promise<void> {
  await sql`delete from ${tables.recoveries} where recovered_at < ${dialect.after(-retention)}`.execute(db)
}
