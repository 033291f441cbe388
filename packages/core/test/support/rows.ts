import type { AnyDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'
import { ago } from './sql.js'

export interface ProcessSetUp {
  readonly state?: 'alive' | 'dead' | 'released'
  /** Milliseconds until its lease ends; negative when it has ended. */
  readonly leaseMs?: number
  readonly seenMsAgo?: number
  readonly orphanThreshold?: number
}

/** Writes a process's row as it would stand after some life of its own. */
export async function addProcess(
  db: AnyDatabase,
  processId: string,
  { state = 'alive', leaseMs = 60_000, seenMsAgo = 0, orphanThreshold = 1_000 }: ProcessSetUp = {},
): Promise<void> {
  await sql`
    insert into holdfast_processes (process_id, state, hostname, pid, version, heartbeat_interval_ms,
      orphan_threshold_ms, beat, epoch, started_at, last_seen_at, lease_expires_at)
    values (${processId}, ${state}, 'host', 1, '0', 100, ${orphanThreshold}, 7, 0, ${ago(seenMsAgo)}, ${ago(seenMsAgo)},
      ${ago(-leaseMs)})`.execute(db)
}

export interface TaskSetUp {
  readonly queue?: string
  readonly jobRef?: string | null
  readonly claim?: { readonly by: string; readonly token: string; readonly ms: number }
  /** Milliseconds until it may be recovered; negative when it may already. */
  readonly retryMs?: number
}

/** The nonce of a task that `addTask` writes: ids in order have nonces in order. */
export function nonceOf(id: string): number {
  const bytes = Buffer.alloc(4)
  bytes.write(id)
  const rest = [...id].reduce((sum, char) => (sum * 31 + char.charCodeAt(0)) % 65_536, 0)
  return bytes.readUInt32BE() * 65_536 + rest
}

export async function addTask(
  db: AnyDatabase,
  processId: string,
  id: string,
  { queue = 'table', jobRef = null, claim, retryMs }: TaskSetUp = {},
): Promise<void> {
  await sql`
    insert into holdfast_tasks (process_id, nonce, id, queue, job_ref, payload, created_at, attempts, claimed_by, claim_token,
      claim_expires_at, retry_at)
    values (${processId}, ${nonceOf(id)}, ${id}, ${queue}, ${jobRef}, ${`"${id}"`}, ${ago(5_000)}, 0, ${claim?.by ?? null},
      ${claim?.token ?? null}, ${claim === undefined ? null : ago(-claim.ms)},
      ${retryMs === undefined ? null : ago(-retryMs)})`.execute(db)
}

/** The full ids of all task rows. */
export async function taskIds(db: AnyDatabase): Promise<string[]> {
  const { rows } = await sql<{ process_id: string; id: string }>`
    select process_id, id from holdfast_tasks order by process_id, id`.execute(db)
  return rows.map(({ process_id, id }) => `${process_id}/${id}`)
}

export async function stateOf(db: AnyDatabase, processId: string): Promise<string | undefined> {
  const { rows } = await sql<{ state: string }>`
    select state from holdfast_processes where process_id = ${processId}`.execute(db)
  return rows[0]?.state
}
