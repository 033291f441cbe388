import { type RawBuilder, sql } from 'kysely'
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

/** Queues that these locks hold. */
export const heldBy = (lockIds: readonly string[]): RawBuilder<boolean> =>
  sql`queues.locked_by = any(${lockIds}::text[])`

/**
 * Frees those of these named queues that no job has locked any more, and answers their names. Passed over are those that a
 * transaction is just freeing: when it rolls back, their job is locked again.
 */
export async function freeQueues(
  run: Run,
  { jobs, queues }: GraphileTables,
  which: RawBuilder<boolean>,
): Promise<string[]> {
  const rows = await run(sql<{ queue_name: string }>`
    update ${queues} set locked_by = null, locked_at = null where id in (
      select queues.id from ${queues} as queues
      where ${which} and queues.locked_by is not null and not exists (
        select 1 from ${jobs} as jobs where jobs.job_queue_id = queues.id and jobs.locked_by = queues.locked_by)
      order by queues.id for update skip locked)
    returning queue_name`)
  return rows.map(({ queue_name }) => queue_name)
}
