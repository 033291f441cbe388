import type { Orphan } from '@holdfast/core'
import type { FetchedJob, LockTime } from './fetched-job.js'
import type { EndedJob } from './job-sql.js'
import type { ExhaustedPolicies, ExhaustedPolicy } from './task-options.js'

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
  /** As it was for the pool; rows of older versions don't say. */
  readonly onExhausted?: ExhaustedPolicies
}

/** What every row of one job says; rows of older versions don't. */
interface OfOneJob {
  readonly onExhausted?: ExhaustedPolicy
}

/** A job whose handler began. It is in graphile-worker still. */
export interface StartedPayload extends Partial<LockTime>, OfOneJob {
  readonly kind: 'started'
  readonly jobId: string
  readonly lockId: string
  /** The handler ended well: only the row is left. */
  readonly finished?: true
  /** The handler threw: graphile-worker's own retry rules apply. */
  readonly failure?: string
  /** Its handler gave it back: milliseconds for which no pool may have it, so that graphile-worker's word comes before. */
  readonly pauseMs?: number
}

export const startedPayload = ({ id, lockId, lockedAt, renewals }: FetchedJob): StartedPayload => ({
  kind: 'started',
  jobId: id,
  lockId,
  lockedAt,
  renewals,
})

/** A job that graphile-worker sees as finished while the work goes on here. */
export interface HandOffPayload extends OfOneJob {
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

/** Longest failure that is kept, in characters: of 6 bytes each in JSON at most, it fits what a release may add. */
const MAX_FAILURE = 2_500

/**
 * What a handler threw, as `last_error` takes it: like graphile-worker's never empty, without NUL, not endless. Anything
 * may be thrown, also what has no text.
 */
export function failureOf(error: unknown): string {
  return textOf(error).replaceAll('\0', '\ufffd').slice(0, MAX_FAILURE)
}

function textOf(error: unknown): string {
  try {
    const message = (error as Partial<Error> | null | undefined)?.message
    const text = typeof message === 'string' && message !== '' ? message : String(error)
    return text || 'Non error or error without message thrown.'
  } catch {
    return 'What was thrown can not be shown.'
  }
}

/**
 * What graphile-worker is to be told that a handler threw: that itself. Of what has no text its worker would die, and
 * `undefined` is no failure to 0.16: then an error with it as its cause.
 */
export function tellable(error: unknown): unknown {
  try {
    const { message, stack } = error as Partial<Error>
    if (error && `${message || String(error)}${stack}`) return error
  } catch {
    // It has no text.
  }
  return new Error(failureOf(error), { cause: error })
}
