import type { AddedJob, ProbedJob, Probes, TestDatabase, TestQueue, Work } from '@holdfast/adapter-testkit'
import { sql } from 'kysely'
import { graphileWorkerAdapter } from '../../src/index.js'
import { graphile } from './graphile.js'

/** What a job can be added with, beside its data. */
export interface JobSpec {
  readonly key?: string | null
  readonly queueName?: string
  readonly maxAttempts?: number
  readonly priority?: number
  readonly flags?: readonly string[]
  readonly runAt?: string
  /** The JSON text of its data. */
  readonly payload?: string
}

type Db = TestDatabase['db']

/** Adds a job, with its work's key for a key of its own. */
export async function addJob(db: Db, work: Work, spec: JobSpec = {}): Promise<AddedJob> {
  const { key = work.key, queueName = null, maxAttempts = null, priority = null } = spec
  const { flags = null, runAt = null, payload = JSON.stringify(work) } = spec
  const { rows } = await sql<{ id: string }>`
    select id::text as id from graphile_worker.add_job('work', ${payload}::json, queue_name => ${queueName},
      max_attempts => ${maxAttempts}::int, job_key => ${key}, priority => ${priority}::int, flags => ${flags}::text[],
      run_at => ${runAt}::timestamptz)`.execute(db)
  const { id } = rows[0]!
  return { id, jobRef: id }
}

interface JobRow extends Pick<ProbedJob, 'id' | 'state'> {
  readonly payload: string
  readonly [field: string]: unknown
}

function probesOf(db: Db): Probes {
  return {
    add: (work, { maxAttempts } = {}) => addJob(db, work, maxAttempts === undefined ? {} : { maxAttempts }),
    async list() {
      const { rows } = await sql<JobRow>`
        select jobs.id::text as id,
          case when jobs.locked_at is not null then 'active' when attempts >= max_attempts then 'failed'
            when run_at > now() then 'delayed' else 'runnable' end as state,
          identifier, payload::text as payload, queue_name, priority, max_attempts, key, flags, last_error,
          run_at::text as run_at, created_at::text as created_at
        from graphile_worker._private_jobs as jobs
        join graphile_worker._private_tasks as tasks on tasks.id = task_id
        left join graphile_worker._private_job_queues as queues on queues.id = job_queue_id
        order by jobs.id`.execute(db)
      return rows.map(({ id, state, ...fields }) => {
        return { id, jobRef: id, state, data: JSON.parse(fields.payload), fields }
      })
    },
  }
}

/** graphile-worker in the monitor's database. */
export interface KitQueue extends TestQueue {
  readonly db: Db
}

export async function kitQueue({ url, db }: TestDatabase): Promise<KitQueue> {
  const utils = await graphile.makeWorkerUtils({ connectionString: url })
  await utils.migrate()
  await utils.release()
  return {
    db,
    probes: probesOf(db),
    options: {},
    connect: async () => ({ adapter: graphileWorkerAdapter() }),
    close: async () => undefined,
  }
}
