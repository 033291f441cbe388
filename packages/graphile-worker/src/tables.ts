import { type RawBuilder, sql } from 'kysely'

/** The names of graphile-worker's objects in its schema. Private tables are the same in 0.16, 0.17 and 0.18. */
export interface GraphileTables {
  readonly jobs: RawBuilder<unknown>
  readonly tasks: RawBuilder<unknown>
  readonly queues: RawBuilder<unknown>
  readonly addJob: RawBuilder<unknown>
}

export const graphileTables = (schema: string): GraphileTables => ({
  jobs: sql.id(schema, '_private_jobs'),
  tasks: sql.id(schema, '_private_tasks'),
  queues: sql.id(schema, '_private_job_queues'),
  addJob: sql.id(schema, 'add_job'),
})

/** Milliseconds until the next try after `attempts` attempts: graphile-worker's own rule. */
export const backoffMs = (attempts: number): number => Math.exp(Math.min(attempts, 10)) * 1_000
