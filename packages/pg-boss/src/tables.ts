import { type RawBuilder, sql } from 'kysely'

/** The names of pg-boss's objects in its schema. */
export interface BossTables {
  /** As pg-boss was given it. */
  readonly schema: string
  readonly job: RawBuilder<unknown>
  readonly queue: RawBuilder<unknown>
  /** Of 10 alone, where finished jobs go after a while. */
  readonly archive: RawBuilder<unknown>
  readonly version: RawBuilder<unknown>
  /** `"pgboss"."job"`, as `to_regclass` takes it. */
  readonly jobName: string
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** pg-boss writes names into its statements as they are, so that Postgres folds those without quotes. */
export const folded = (name: string): string => (/^".+"$/.test(name) ? name.slice(1, -1) : name.toLowerCase())

/** @param schema as pg-boss is given it */
export function bossTables(schema: string): BossTables {
  const name = folded(schema)
  return {
    schema,
    job: sql.id(name, 'job'),
    queue: sql.id(name, 'queue'),
    archive: sql.id(name, 'archive'),
    version: sql.id(name, 'version'),
    jobName: `${quoted(name)}."job"`,
  }
}
