import { sql } from 'kysely'
import type { Run } from '../run.js'
import type { GraphileTables } from '../tables.js'
import type { JobRow } from './held-jobs.js'
import type { Continuation } from './plan.js'

/** Makes jobs in place available again. Their rows are locked by this transaction. */
export async function unlockJobs(
  run: Run,
  { jobs }: GraphileTables,
  unlocks: readonly { row: JobRow; next: Continuation }[],
): Promise<void> {
  if (unlocks.length === 0) return
  const ids = unlocks.map(({ row }) => row.id)
  const attempts = unlocks.map(({ next }) => next.attempts)
  const delays = unlocks.map(({ next }) => next.delayMs)
  const errors = unlocks.map(({ next }) => next.lastError)
  await run(sql`
    update ${jobs} as jobs
    set locked_by = null, locked_at = null, attempts = todo.attempts, updated_at = now(),
      last_error = coalesce(todo.last_error, jobs.last_error),
      run_at = case when todo.delay_ms is null then jobs.run_at
        else clock_timestamp() + todo.delay_ms * interval '1 millisecond' end
    from unnest(${ids}::bigint[], ${attempts}::int[], ${delays}::float8[], ${errors}::text[])
      as todo (id, attempts, delay_ms, last_error)
    where jobs.id = todo.id`)
}

/** Removes finished jobs. Their rows are locked by this transaction. */
export async function removeJobs(run: Run, { jobs }: GraphileTables, ids: readonly string[]): Promise<void> {
  if (ids.length > 0) await run(sql`delete from ${jobs} where id = any(${ids}::bigint[])`)
}

/** Releases the named queues that these locks hold: all of them, or only the given ones. */
export async function unlockQueues(
  run: Run,
  { queues }: GraphileTables,
  lockIds: readonly string[],
  queueIds?: readonly number[],
): Promise<void> {
  if (lockIds.length === 0 || queueIds?.length === 0) return
  const only = queueIds === undefined ? sql`` : sql`and id = any(${queueIds}::int[])`
  await run(sql`
    update ${queues} set locked_by = null, locked_at = null
    where locked_by = any(${lockIds}::text[]) ${only}`)
}
