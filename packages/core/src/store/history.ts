import { sql } from 'kysely'
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

/** The history's id of a task that its recovery found ended, so that its holder finds it. */
export const completedId = (processId: string, nonce: number): string => `completed:${processId}:${nonce}`

/** Which of these tasks of a process its recovery found ended, as far as the history goes back. */
export async function completedTasks(
  { db, tables }: Store,
  processId: string,
  nonces: readonly number[],
): Promise<ReadonlySet<number>> {
  const found = new Set<number>()
  for (const some of chunks(nonces)) {
    const ids = new Map(some.map((nonce) => [completedId(processId, nonce), nonce]))
    const { rows } = await sql<{ id: string }>`
      select id from ${tables.recoveries} where id in (${sql.join([...ids.keys()])})`.execute(db)
    for (const { id } of rows) found.add(ids.get(id)!)
  }
  return found
}

export async function pruneRecoveries({ db, dialect, tables }: Store, retention: number): Promise<void> {
  await sql`delete from ${tables.recoveries} where recovered_at < ${dialect.after(-retention)}`.execute(db)
}
