import type { Monitor, Orphan, RecoveryContext } from '@holdfast/core'
import { sql } from 'kysely'
import { RENEWAL } from './fetched-job.js'
import { superseded } from './job-sql.js'
import { notify } from './notify.js'
import { freeQueues } from './recovery/unlock.js'
import type { Run } from './run.js'
import { StrayJobs } from './stray-jobs.js'
import type { GraphileTables } from './tables.js'

/** Youngest lock in milliseconds that may be taken for unknown: living pools note every minute which jobs still run. */
export const MIN_UNKNOWN_AGE = 10 * RENEWAL

type UpkeepContext = Pick<RecoveryContext, 'logger' | 'remaining' | 'registered'>

/** What one process at a time does for graphile-worker's tables. */
export class Upkeep {
  readonly #tables: GraphileTables
  readonly #unknownAge: number | undefined
  readonly #strays: StrayJobs
  #doneAt = Number.NEGATIVE_INFINITY
  monitor: Pick<Monitor, 'health'> | undefined

  constructor(tables: GraphileTables, unknownAge: number | undefined) {
    this.#tables = tables
    this.#unknownAge = unknownAge
    this.#strays = new StrayJobs(tables)
  }

  /** These are being recovered: what their pools lock after that is to be looked for. */
  watch(orphans: readonly Orphan[]): void {
    this.#strays.watch(orphans)
  }

  async keep(run: Run, context: UpkeepContext): Promise<void> {
    const strays = await this.#strays.giveBack(run, context)
    if (strays.length > 0) {
      context.logger.warn(`graphile-worker: gave back jobs that dead pools had locked: ${strays.join(', ')}`)
    }
    await this.#keepTables(run, context)
  }

  /** Once a minute, however often it is asked. */
  async #keepTables(run: Run, { logger }: UpkeepContext): Promise<void> {
    if (performance.now() - this.#doneAt < RENEWAL) return
    const freed = await repairQueues(run, this.#tables)
    if (freed.length > 0) {
      logger.warn(`graphile-worker: freed named queues that no job held: ${freed.join(', ')}`)
    }
    const { gapFreeForMs = 0 } = this.monitor?.health() ?? {}
    // After an outage the living have had no occasion to note what they run.
    if (this.#unknownAge !== undefined && gapFreeForMs >= 3 * RENEWAL) {
      const unlocked = await unlockUnknown(run, this.#tables, this.#unknownAge)
      if (unlocked.length > 0) {
        logger.warn(`graphile-worker: unlocked jobs of unknown workers: ${unlocked.join(', ')}`)
      }
    }
    this.#doneAt = performance.now()
  }
}

/**
 * Frees named queues whose lock no job has any more: a job that a zombie completes leaves its queue locked by whoever has
 * the job then (graphile-worker's own completion is not fenced). Answers their names.
 */
export async function repairQueues(run: Run, tables: GraphileTables): Promise<string[]> {
  const freed = await freeQueues(run, tables, sql`queues.locked_at < now() - interval '30 seconds'`)
  await notify(run, freed.length)
  return freed
}

/**
 * Unlocks jobs whose lock is at least `age` milliseconds old, so that nobody who runs them with an adapter is alive. They
 * keep their attempt; on their last one they are failed visibly. Answers their ids.
 */
export async function unlockUnknown(
  run: Run,
  { jobs, queues }: GraphileTables,
  age: number,
): Promise<string[]> {
  const rows = await run(sql<{ id: string }>`
    with unknown as (
      select id, locked_by from ${jobs} as jobs
      where locked_at < now() - ${age}::float8 * interval '1 millisecond' order by id for update skip locked
    ), unlocked as (
      update ${jobs} as jobs
      set locked_by = null, locked_at = null, run_at = greatest(jobs.run_at, now()),
        last_error = case when jobs.attempts < jobs.max_attempts or ${superseded} then jobs.last_error
          else 'Locked for long by a worker that nobody knows, on its last attempt' end
      from unknown where jobs.id = unknown.id returning jobs.id, jobs.job_queue_id, unknown.locked_by
    ), freed as (
      update ${queues} as queues set locked_by = null, locked_at = null
      from unlocked where queues.id = unlocked.job_queue_id and queues.locked_by = unlocked.locked_by
    )
    select id::text as id from unlocked`)
  await notify(run, rows.length)
  return rows.map(({ id }) => id)
}
