import {
  type AnyTransaction,
  DatabaseError,
  NotProtectedError,
  type TaskHandle,
  TaskLostError,
} from '@holdfast/core'
import type { BossJob } from './boss.js'
import { type Delivery, expiryOf } from './delivery.js'
import { type ActiveJob, holdOff, lockJobs, setRetryLimits } from './job-sql.js'
import { isOwnFault, patiently } from './patiently.js'
import { failureOf, type TaskPayload, writable } from './payloads.js'
import type { ProtectedBoss, Running } from './protected-boss.js'
import { inDatabase, inTransaction, onlyWithin } from './run.js'

/** How the work on a job ended. */
export type End =
  | { readonly kind: 'completed'; readonly output: unknown }
  /** Its own retry rules apply. */
  | { readonly kind: 'failed'; readonly error: unknown }
  /** Failed for good. */
  | { readonly kind: 'deadLetter'; readonly error: unknown }

/** A job whose work ended. */
export interface Ended {
  readonly job: BossJob
  readonly active: ActiveJob
  /** Left out, with its payload: it could not be registered. */
  readonly row?: TaskHandle
  readonly stored?: TaskPayload
  readonly end: End
}

/** Jobs that this run did not end. */
export interface NotEnded {
  /** Their rows are no longer this process's: what was done of them doesn't count. */
  readonly lost: BossJob[]
  /** pg-boss, their handler or a person had ended them before. */
  readonly endedBefore: BossJob[]
}

/**
 * Ends jobs in pg-boss together with their rows, in one transaction. Never rejects: what can't be written is left to
 * recovery, and the job is lost to this run.
 *
 * @param isPlain what is to be written was made so that it can be
 */
export async function settle(
  protectedBoss: ProtectedBoss,
  running: Running,
  ended: readonly Ended[],
  isPlain = false,
): Promise<NotEnded> {
  const lost: BossJob[] = []
  let left = ended.map((one) => ({ ...one, end: writableEnd(one.end) }))
  let tried = false
  const endAll = async (): Promise<ReadonlySet<string>> => {
    // A commit whose answer was lost is no failure, and what has become another's must not keep the others.
    if (tried) left = await openOf(running, left, lost)
    tried = true
    if (left.length === 0) return new Set()
    return inTransaction(protectedBoss.parts.db, async (_, trx) => {
      for (const { row } of left) await row?.complete({ trx })
      return endJobs(protectedBoss, running, trx, left)
    })
  }
  if (ended.length === 0) return { lost, endedBefore: [] }
  try {
    const held = await patiently(endAll, Math.max(...ended.map(({ job }) => expiryOf(job))))
    // The monitor hears of the commit, and lets the rows go.
    await Promise.all(left.map(({ row }) => row && running.monitor.settle(row)))
    return { lost, endedBefore: left.flatMap(({ job }) => (held.has(job.id) ? [] : [job])) }
  } catch (error) {
    const isLost = TaskLostError.is(error)
    if (!isLost && (isPlain || !isOwnFault(error))) {
      for (const each of left) await giveUp(protectedBoss, each, error)
      return { lost: [...lost, ...left.map(({ job }) => job)], endedBefore: [] }
    }
    if (left.length === 1) {
      const [one] = left as [Ended]
      if (isLost) return { lost: [...lost, one.job], endedBefore: [] }
      return settle(protectedBoss, running, [{ ...one, end: plainEnd(one.end, error) }], true)
    }
  }
  // The fault of one of them: the others' ends must not be lost for it.
  const results: NotEnded[] = [{ lost, endedBefore: [] }]
  for (const each of left) results.push(await settle(protectedBoss, running, [each]))
  return {
    lost: results.flatMap(({ lost }) => lost),
    endedBefore: results.flatMap(({ endedBefore }) => endedBefore),
  }
}

/** Those that a transaction of unknown outcome has not ended. @param lost gets those that are another's */
async function openOf({ monitor }: Running, ended: readonly Ended[], lost: BossJob[]): Promise<Ended[]> {
  const became = await Promise.all(ended.map(({ row }) => row && monitor.settle(row)))
  lost.push(...ended.flatMap(({ job }, index) => (became[index] === 'lost' ? [job] : [])))
  return ended.filter((_, index) => became[index] === undefined || became[index] === 'open')
}

/** Has recovery fail a job whose end can't be written, by its own rules: a row that is kept would never end. */
export async function giveUp(
  { report }: ProtectedBoss,
  { job, row, stored, end }: Ended,
  error: unknown,
): Promise<void> {
  report(
    new Error(`The end of job ${job.id} of ${job.name} could not be written: ${String(error)}`, {
      cause: error,
    }),
  )
  if (row === undefined || stored === undefined) return
  try {
    await releaseFailed(report, { row, stored }, end.kind === 'completed' ? error : end.error)
  } catch (cause) {
    // Another's, or without a row: then pg-boss expires it. What the database refuses, heartbeats repeat.
    if (!TaskLostError.is(cause) && !NotProtectedError.is(cause)) report(cause)
  }
}

/**
 * Gives a job back for recovery to fail it. Where its row can't say so, since a codec refuses that, the job runs again as it
 * was: a row that is kept would never end.
 */
export async function releaseFailed(
  report: ProtectedBoss['report'],
  { row, stored }: Pick<Delivery, 'row' | 'stored'>,
  error: unknown,
): Promise<void> {
  try {
    await row.release({ payload: { ...stored, failure: failureOf(error) } })
  } catch (cause) {
    // Of these it has ended, or ends with a heartbeat.
    if (TaskLostError.is(cause) || NotProtectedError.is(cause) || DatabaseError.is(cause)) throw cause
    report(cause)
    await row.release()
  }
}

/** What can't be read would be tried again and again, like a database that is away. */
function writableEnd(end: End): End {
  if (end.kind !== 'completed') {
    const error = writable(end.error)
    return error === end.error ? end : { ...end, error }
  }
  try {
    JSON.stringify(end.output)
    return end
  } catch (error) {
    return error instanceof TypeError ? end : plainEnd(end, error) // As in `writable`.
  }
}

/** A failure as it can be stored. A job whose output can't be stored has failed, as for pg-boss. */
const plainEnd = (end: End, error: unknown): End =>
  end.kind === 'completed'
    ? { kind: 'failed', error: failureOf(error) }
    : { ...end, error: failureOf(end.error) }

/**
 * Ends jobs in pg-boss by its own rules, each only while it is the attempt that this process has: pg-boss 10 asks for no
 * such thing. Of one that was ended meanwhile, by its own handler or by anyone, there is nothing to write. Answers the ids
 * of the others.
 */
export async function endJobs(
  { parts: { boss, tables } }: ProtectedBoss,
  { schema }: Running,
  trx: AnyTransaction,
  ended: readonly Pick<Ended, 'active' | 'end'>[],
): Promise<ReadonlySet<string>> {
  const run = inDatabase(trx)
  const db = await onlyWithin(trx)
  const actives = ended.map(({ active }) => active)
  const rows = await lockJobs(run, tables, actives, { wait: true })
  const held = new Map(
    rows.filter(({ state, sameAttempt }) => state === 'active' && sameAttempt).map((row) => [row.id, row]),
  )
  const { name } = actives[0]!
  for (const [end, ids] of groupsOf(ended, held)) {
    if (end.kind === 'completed') {
      await boss.complete(name, ids, end.output, { db })
      continue
    }
    const limits = ids.map((id) => {
      const { retry_count, retry_limit } = JSON.parse(held.get(id)!.job)
      return { name, id, now: Math.min(retry_count, retry_limit), retryLimit: retry_limit }
    })
    const isFinal = end.kind === 'deadLetter'
    if (isFinal)
      await setRetryLimits(
        run,
        tables,
        limits.map(({ now, ...of }) => ({ ...of, retryLimit: now })),
      )
    await boss.fail(name, ids, end.error, { db })
    if (isFinal) await setRetryLimits(run, tables, limits)
    // pg-boss 10 will say that they are completed, of whatever is active then.
    else if (!schema.fences) await holdOff(run, tables, name, ids)
  }
  return new Set(held.keys())
}

/** Jobs that ended alike, so that one statement ends them. */
function groupsOf(
  ended: readonly Pick<Ended, 'active' | 'end'>[],
  held: ReadonlyMap<string, unknown>,
): Map<End, string[]> {
  const groups = new Map<End, string[]>()
  for (const { end, active } of ended) {
    if (held.has(active.id)) groups.set(end, [...(groups.get(end) ?? []), active.id])
  }
  return groups
}
