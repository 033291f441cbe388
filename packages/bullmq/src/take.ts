import { type BullmqQueue, runScript } from './bullmq.js'
import type { EndedRun } from './payloads.js'
import { TAKE } from './scripts/take.js'

/** Milliseconds that a job stays locked for what comes next. */
const LOCK = 30_000

/** Seconds that a recovery is remembered: longer than a row may stay claimed. */
const REMEMBERED = 7 * 24 * 3_600

export interface TakeOptions {
  readonly purpose: 'requeue' | 'fail' | 'retry' | 'keep' | 'end'
  /** Under which it is locked. */
  readonly token: string
  /** Makes it happen once however often it is repeated. */
  readonly marker?: string
  /** For when another job has its id. */
  readonly otherId?: string
  /** Why it is failed. */
  readonly reason?: string
}

export type Taken = readonly [
  answer: 'taken' | 'done' | 'there' | 'busy' | 'superseded' | 'finished',
  id: string,
]

/** Makes the job of a run active and locked by `token`, if it is that run's still; says else why not. */
export async function take(
  queue: BullmqQueue,
  run: EndedRun,
  { purpose, token, marker = '', otherId = '', reason = '' }: TakeOptions,
): Promise<Taken> {
  const { id, timestamp, starts, server, kind, fields } = run
  return (await runScript(
    ...([queue, TAKE, id, timestamp, run.token, starts, server, kind, purpose, token, LOCK] as const),
    ...[marker, REMEMBERED, otherId, reason, ...Object.entries(fields).flat()],
  )) as unknown as Taken
}
