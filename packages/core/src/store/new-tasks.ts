import { type Expression, type RawBuilder, sql } from 'kysely'
import type { Store } from './store.js'

/** What a task's row is written from. */
export interface NewTask {
  /** Number of this registration among those of its process: never the same twice, so that no late write of an earlier one matches. */
  readonly nonce: number
  readonly id: string
  readonly queue: string
  readonly jobRef: string | null
  /** As stored: JSON text, encoded where the monitor has a codec. */
  readonly payload: string
  readonly onCrash: string | null
}

export interface TaskInsertion {
  readonly processId: string
  /** Refused once a later epoch of the process is in the database: see `settleInserts`. */
  readonly epoch: number
  readonly tasks: readonly NewTask[]
  /** Jobs that crashed this often within `crashWindow` ms are suspects and are not written; Infinity writes all. */
  readonly suspectFrom: number
  readonly crashWindow: number
}

export interface TaskInsertResult {
  /** False: the process is not alive in the database, and nothing was written. */
  readonly alive: boolean
  /** The nonces of suspects, which were not written. */
  readonly suspects: ReadonlySet<number>
}

export const INSERTED = ['nonce', 'id', 'queue', 'job_ref', 'payload', 'on_crash'] as const

export const insertedValues = ({
  nonce,
  id,
  queue,
  jobRef,
  payload,
  onCrash,
}: NewTask): readonly unknown[] => [sql.lit(nonce), id, queue, jobRef, payload, onCrash]

/** What a task that is taken over from another process loses of its old row. */
export const REPLACED = [
  ...['process_id', ...INSERTED, 'ended', 'created_at', 'progress_at', 'attempts', 'retry_at', 'last_error'],
  ...['claimed_by', 'claim_token', 'claim_expires_at', 'crashes'],
]

export const columnList = (names: readonly string[]): RawBuilder<unknown> =>
  sql.join(names.map((name) => sql.id(name)))

/** Whether the job `jobRef` of `queue` is a suspect. */
export function isSuspect(
  { dialect, tables }: Store,
  { suspectFrom, crashWindow }: TaskInsertion,
  queue: Expression<unknown>,
  jobRef: Expression<unknown>,
): RawBuilder<unknown> {
  return sql`exists (
    select 1 from ${tables.crashes} as c
    where c.queue = ${queue} and c.job_ref = ${jobRef} and c.count >= ${suspectFrom}
      and c.last_crash_at > ${dialect.after(-crashWindow)})`
}
