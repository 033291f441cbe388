import { type RawBuilder, sql } from 'kysely'

/** The names of pg-boss's objects in its schema. */
export interface BossTables {
  readonly job: RawBuilder<unknown>
  readonly queue: RawBuilder<unknown>
  /** Of 10 alone, where finished jobs go after a while. */
  readonly archive: RawBuilder<unknown>
  readonly version: RawBuilder<unknown>
  /** `"pgboss"."job"`, as `to_regclass` takes it. */
  readonly jobName: string
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

export const bossTables = (schema: string): BossTables => ({
  job: sql.id(schema, 'job'),
  queue: sql.id(schema, 'queue'),
  archive: sql.id(schema, 'archive'),
  version: sql.id(schema, 'version'),
  jobName: `${quoted(schema)}."job"`,
})
