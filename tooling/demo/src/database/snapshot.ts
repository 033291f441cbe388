import type { AnyDatabase } from '@holdfast/chaos'
import { sql } from 'kysely'

export interface WorkerState {
  readonly worker: string
  readonly pid: number
  readonly inFlight: number
  readonly finished: number
  /** As Holdfast knows it; null when it has no row (any more). */
  readonly processId: string | null
  readonly state: string | null
  readonly leaseMs: number | null
}

/** How things stand, read from the database. */
export interface Snapshot {
  readonly workers: readonly WorkerState[]
  /** Jobs with a finish row. */
  readonly finished: number
  /** Jobs held by a worker, dead or alive. */
  readonly inFlight: number
  /** Jobs in graphile-worker that nobody has locked. */
  readonly waiting: number
  /** Milliseconds since the last ledger row, or since the jobs were enqueued. */
  readonly quietMs: number
}

export async function readSnapshot(db: AnyDatabase): Promise<Snapshot> {
  const totals = await sql<Omit<Snapshot, 'workers'>>`
    select
      (select count(distinct job) from ledger where what = 'finish')::int as finished,
      (select count(distinct job) from demo_held)::int as "inFlight",
      (select count(*) from graphile_worker._private_jobs where locked_by is null)::int as waiting,
      (select extract(epoch from clock_timestamp() - max(at)) * 1000 from (
        select max(at) as at from ledger union all select max(enqueued_at) from demo_jobs
      ) as last)::float8 as "quietMs"`.execute(db)
  const workers = await sql<WorkerState>`
    select pools.worker, pools.pid, coalesce(held.jobs, 0)::int as "inFlight",
      coalesce(done.jobs, 0)::int as finished, process.process_id as "processId", process.state,
      process.lease_ms as "leaseMs"
    from (select distinct worker, pid from demo_pools) as pools
    left join (select worker, count(*) as jobs from demo_held group by worker) as held using (worker)
    left join (
      select worker, count(distinct job) as jobs from ledger where what = 'finish' group by worker
    ) as done using (worker)
    -- Of a worker that was evicted, its present incarnation.
    left join lateral (
      select * from demo_processes where demo_processes.worker = pools.worker order by lease_ms desc limit 1
    ) as process on true
    order by pools.worker`.execute(db)
  return { ...totals.rows[0]!, workers: workers.rows }
}
