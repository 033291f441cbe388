import { type AnyTransaction, type TaskHandle, TaskLostError } from '@holdfast/core'
import type { BossJob } from './boss.js'
import { expiryOf } from './delivery.js'
import { type ActiveJob, holdOff, lockJobs, setRetryLimits } from './job-sql.js'
import { isOwnFault, patiently } from './patiently.js'
import { failureOf } from './payloads.js'
import type { ProtectedBoss, Running } from './protected-boss.js'
import { asBossDatabase, inDatabase, inTransaction } from './run.js'

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
  /** Left out: it could not be registered. */
  readonly row?: TaskHandle
  readonly end: End
}

/** Jobs that were not this run's to end. */
export interface NotEnded {
  /** Their rows were no longer this process's: what was done of them doesn't count. */
  readonly lost: BossJob[]
  /** pg-boss, their handler or a person had ended them before. */
  readonly endedBefore: BossJob[]
}

/**
 * Ends jobs in pg-boss together with their rows, in one transaction.
 *
 * @param isPlain what is to be written was made so that it can be
 */
export async function settle(
  protectedBoss: ProtectedBoss,
  running: Running,
  ended: readonly Ended[],
  isPlain = false,
): Promise<NotEnded> {
  if (ended.length === 0) return { lost: [], endedBefore: [] }
  const patience = Math.max(...ended.map(({ job }) => expiryOf(job)))
  const endAll = (): Promise<ReadonlySet<string>> =>
    inTransaction(protectedBoss.parts.db, async (_, trx) => {
      for (const { row } of ended) await row?.complete({ trx })
      return endJobs(protectedBoss, running, trx, ended)
    })
  try {
    const held = await patiently(endAll, patience)
    return { lost: [], endedBefore: ended.flatMap(({ job }) => (held.has(job.id) ? [] : [job])) }
  } catch (error) {
    const isLost = TaskLostError.is(error)
    if (!isLost && (isPlain || !isOwnFault(error))) throw error
    if (ended.length === 1) {
      const [one] = ended as [Ended]
      if (isLost) return { lost: [one.job], endedBefore: [] }
      return settle(protectedBoss, running, [{ ...one, end: plainEnd(one.end, error) }], true)
    }
  }
  // The fault of one of them: the others' ends must not be lost for it.
  const results: NotEnded[] = []
  for (const one of ended) results.push(await settle(protectedBoss, running, [one]))
  return {
    lost: results.flatMap(({ lost }) => lost),
    endedBefore: results.flatMap(({ endedBefore }) => endedBefore),
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
  const db = asBossDatabase(trx)
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
