import { type RawBuilder, sql } from 'kysely'

/** Milliseconds by which the lock of a running job is made younger, in whole steps: so it is known for this fetch's still. */
export const RENEWAL = 60_000

/** When a job was locked, as far as a fetch knows. */
export interface LockTime {
  /**
   * Milliseconds since 1970, by the clock that graphile-worker goes by. Null where the user's own parser of timestamps
   * gave something else: then the rest has to do.
   */
  readonly lockedAt: number | null
  /** How often it was made younger at most; the last of these was perhaps not carried out. */
  readonly renewals: number
}

/** One time that a job was fetched. */
export interface FetchedJob extends LockTime {
  readonly id: string
  /** Of the worker on 0.16, of its pool since 0.17. */
  readonly lockId: string
  /**
   * Counted at every fetch. That alone doesn't tell one from the next of the same pool: they are given back, and set anew
   * with a job that is added again under its key. The time does.
   */
  readonly attempts: number
}

/** Postgres's own text of a time, which some set as its parser. One without a fraction may have been rounded. */
const TIME_TEXT = /^\d+-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d(:?\d\d)?)$/

/** `helpers.job.locked_at` as `lockedAt`. */
export function readLockedAt(given: unknown): number | null {
  const isText = typeof given === 'string' && TIME_TEXT.test(given)
  const time = given instanceof Date || isText ? new Date(given).getTime() : Number.NaN
  return Number.isFinite(time) ? time : null
}

/** A time in SQL, as `lockedAt` has it. */
export const millis = (time: RawBuilder<unknown>): RawBuilder<number> =>
  sql`floor(extract(epoch from ${time}) * 1000)::bigint`

/** A lock's time in SQL. */
export const lockedAtOf = (column: string): RawBuilder<number> => millis(sql.ref(column))

/** Whether `jobs.locked_at` is the time of a lock. */
export const isLockedSince = (
  lockedAt: RawBuilder<unknown>,
  renewals: RawBuilder<unknown>,
): RawBuilder<boolean> => sql`
  (${lockedAt} is null or (${lockedAtOf('jobs.locked_at')} - ${lockedAt}) % ${sql.lit(RENEWAL)} = 0
    and ${lockedAtOf('jobs.locked_at')} - ${lockedAt} between 0 and ${renewals}::bigint * ${sql.lit(RENEWAL)})`

/** The same of a time that was read. Rows of older versions say no time. */
export function isLockTime({ lockedAt, renewals = 0 }: Partial<LockTime>, found: number | null): boolean {
  if (lockedAt == null) return true
  const steps = ((found ?? Number.NaN) - lockedAt) / RENEWAL
  return Number.isInteger(steps) && steps >= 0 && steps <= renewals
}
