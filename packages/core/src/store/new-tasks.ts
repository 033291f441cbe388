import { type RawBuilder, sql } from 'kysely'
import { type Store, valuesList } from './store.js'

/** What a task's row is written from. */
export interface NewTask {
  /** Number of this registration among those of its process: never the same twice, so that no late write of an earlier one matches. */
  readonly nonce: number
  readonly id: string
  readonly queue: string
  readonly jobRef: string | null
  /** Which attempt of the job it is, by a number that its queue raises; 0 where nobody says. */
  readonly attempt: number
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

/**
 * What came of writing a task's row. Not written: `dead`, its process is not alive in the database; `suspect`, its job is
 * one; `busy`, somebody has its job's row locked; `taken`, that is a newer attempt's, or one that is as new.
 */
export type Inserted = 'written' | 'dead' | 'suspect' | 'busy' | 'taken'

export const INSERTED = ['nonce', 'id', 'queue', 'job_ref', 'job_attempt', 'payload', 'on_crash'] as const

export const insertedValues = (task: NewTask): readonly unknown[] => {
  const { nonce, id, queue, jobRef, attempt, payload, onCrash } = task
  return [sql.lit(nonce), id, queue, jobRef, sql.lit(attempt), payload, onCrash]
}

export const columnList = (names: readonly string[]): RawBuilder<unknown> =>
  sql.join(names.map((name) => sql.id(name)))

/** What tells a job from all others, of any queue. */
export const jobKey = (queue: string, jobRef: string | null): string => `${queue}\0${jobRef}`

/** `(queue, job_ref), …` of those that have a jobRef; undefined when none has. */
export function jobsOf(tasks: readonly NewTask[]): RawBuilder<unknown> | undefined {
  const pairs = tasks.flatMap(({ queue, jobRef }) => (jobRef === null ? [] : [[queue, jobRef]]))
  return pairs.length === 0 ? undefined : valuesList(pairs)
}

/** `from … where …`: the suspects among these jobs. */
export const suspectsAmong = (
  { dialect, tables }: Store,
  { suspectFrom, crashWindow }: TaskInsertion,
  jobs: RawBuilder<unknown>,
): RawBuilder<unknown> => sql`
  from ${tables.crashes} as c
  where (c.queue, c.job_ref) in (${jobs}) and c.count >= ${suspectFrom}
    and c.last_crash_at > ${dialect.after(-crashWindow)}`
