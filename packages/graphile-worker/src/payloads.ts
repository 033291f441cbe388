import type { Orphan } from '@holdfast/core'
import type { FetchedJob, LockTime } from './fetched-job.js'
import type { EndedJob } from './job-sql.js'

/** All that is needed to add a handed-off job anew, exactly as it was. */
export interface JobSnapshot {
  readonly id: string
  readonly identifier: string
  /** The payload's JSON text as graphile-worker stores it: parsing would round big numbers. */
  readonly payload: string
  readonly queueName: string | null
  readonly priority: number
  readonly attempts: number
  readonly maxAttempts: number
  readonly key: string | null
  readonly flags: readonly string[] | null
  /** The database's text of it. */
  readonly runAt: string
  /** The database's text of it. */
  readonly createdAt: string
  readonly lastError: string | null
  /** Removed, or replaced by a newer job with its key, before it was handed off. */
  readonly superseded?: boolean
}

/** A worker pool that is guarded: stands for every job that its lock ids hold. */
export interface GuardPayload {
  readonly kind: 'guard'
  readonly lockIds: readonly string[]
  /** Every job whose handler began has a row of its own: what the pool holds beyond them had not begun. */
  readonly marksStarts: boolean
  /** Jobs that ended last, whose end graphile-worker had perhaps not written when the pool ended. */
  readonly ended?: readonly EndedJob[]
}

/** A job whose handler began. It is in graphile-worker still. */
export interface StartedPayload extends Partial<LockTime> {
  readonly kind: 'started'
  readonly jobId: string
  readonly lockId: string
  /** The handler ended well: only the row is left. */
  readonly finished?: true
  /** The handler threw: graphile-worker's own retry rules apply. */
  readonly failure?: string
}

export const startedPayload = ({ id, lockId, lockedAt, renewals }: FetchedJob): StartedPayload => ({
  kind: 'started',
  jobId: id,
  lockId,
  lockedAt,
  renewals,
})

/** A job that graphile-worker sees as finished while the work goes on here. */
export interface HandOffPayload {
  readonly kind: 'handOff'
  readonly lockId: string
  readonly job: JobSnapshot
  /** The handler threw: graphile-worker's own retry rules apply. */
  readonly failure?: string
}

export type TaskPayload = GuardPayload | StartedPayload | HandOffPayload

const KINDS: ReadonlySet<unknown> = new Set<TaskPayload['kind']>(['guard', 'started', 'handOff'])

/** @throws Error when the row was not written by this adapter */
export function payloadOf({ fullId, payload }: Orphan): TaskPayload {
  if (typeof payload === 'object' && payload !== null && 'kind' in payload && KINDS.has(payload.kind)) {
    return payload as TaskPayload
  }
  throw new Error(
    `Task ${fullId} was not registered by the graphile-worker adapter; does another adapter have the same name?`,
  )
}

/** Longest failure that is kept, in characters. */
const MAX_FAILURE = 4_000

/** What a handler threw, as `last_error` takes it: like graphile-worker's never empty, without NUL, not endless. */
export function failureOf(error: unknown): string {
  const message = (error instanceof Error && error.message) || String(error)
  return (message || 'Non error or error without message thrown.')
    .replaceAll('\0', '\ufffd')
    .slice(0, MAX_FAILURE)
}
