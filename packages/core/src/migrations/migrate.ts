import { type Kysely, sql } from 'kysely'
import { configError, storeProblems } from '../check-options.js'
import { SchemaVersionError } from '../errors.js'
import type { StoreOptions } from '../options.js'
import { openStore, type Store } from '../store/store.js'
import { init } from './0001-init.js'
import type { Migration } from './migration.js'

/** Every step, in order. */
const migrations: readonly Migration[] = [init]

/**
 * Creates or upgrades Holdfast's tables. Safe to call from every process at every start: racing calls wait for each
 * other, and a call that finds nothing to do changes nothing. Needs the right to create tables, which running does not.
 *
 * @returns the ids of the steps that this call applied
 * @throws ConfigError, SchemaVersionError when the schema is newer in a breaking way
 */
// biome-ignore lint/suspicious/noExplicitAny: any schema of the user's must fit
export async function migrate(db: Kysely<any>, options: StoreOptions = {}): Promise<string[]> {
  const problems = storeProblems(options)
  if (problems.length > 0) throw configError(problems)
  const store = openStore(db, options)
  const { schema = '', tablePrefix = 'holdfast_' } = options
  return store.dialect.withMigrationLock(store.db, `holdfast:${schema}:${tablePrefix}`, async (locked) => {
    const inner = { ...store, db: locked }
    await createMigrationsTable(inner, options)
    const applied = await appliedMigrations(inner)
    refuseBreaking(applied)
    const missing = migrations.filter(({ id }) => !applied.has(id))
    for (const migration of missing) await apply(inner, migration, options)
    return missing.map(({ id }) => id)
  })
}

/**
 * Says whether this version of the library can run on the schema.
 *
 * @throws SchemaVersionError naming what to do
 */
export async function checkSchema(store: Store): Promise<void> {
  let applied: Map<string, boolean>
  try {
    applied = await appliedMigrations(store)
  } catch (cause) {
    if (store.dialect.errorKind(cause) !== 'missing-table') throw cause
    throw new SchemaVersionError(
      "Holdfast's tables don't exist here. Run `await migrate(db)` from '@holdfast/core' once, " +
        'with the same schema and tablePrefix as the monitor.',
      { cause },
    )
  }
  refuseBreaking(applied)
  const missing = migrations.filter(({ id }) => !applied.has(id)).map(({ id }) => id)
  if (missing.length > 0) {
    throw new SchemaVersionError(
      `Holdfast's tables are older than this version of the library: ${missing.join(', ')} not applied. ` +
        "Run `await migrate(db)` from '@holdfast/core'.",
    )
  }
}

function refuseBreaking(applied: ReadonlyMap<string, boolean>): void {
  const known = new Set(migrations.map(({ id }) => id))
  const breaking = [...applied].filter(([id, breaks]) => breaks && !known.has(id)).map(([id]) => id)
  if (breaking.length === 0) return
  throw new SchemaVersionError(
    `Holdfast's tables were changed by a newer version (${breaking.join(', ')}) so that this one can't use them. ` +
      'Upgrade @holdfast/core in this process.',
  )
}

async function createMigrationsTable(
  { db, dialect }: Store,
  { schema, tablePrefix = 'holdfast_' }: StoreOptions,
) {
  if (schema !== undefined) await db.schema.createSchema(schema).ifNotExists().execute()
  const builder = schema === undefined ? db.schema : db.schema.withSchema(schema)
  await builder
    .createTable(`${tablePrefix}migrations`)
    .ifNotExists()
    .addColumn('id', dialect.types.id, (c) => c.primaryKey())
    .addColumn('applied_at', dialect.types.time, (c) => c.notNull())
    .addColumn('breaking', 'integer', (c) => c.notNull())
    .execute()
}

async function appliedMigrations({ db, tables }: Store): Promise<Map<string, boolean>> {
  const { rows } = await sql<{ id: string; breaking: number }>`
    select id, breaking from ${tables.migrations} order by id`.execute(db)
  return new Map(rows.map(({ id, breaking }) => [id, Number(breaking) === 1]))
}

async function apply(
  { db, dialect, tables }: Store,
  migration: Migration,
  options: StoreOptions,
): Promise<void> {
  const { schema, tablePrefix = 'holdfast_' } = options
  const builder = schema === undefined ? db.schema : db.schema.withSchema(schema)
  const full = (name: string): string => `${tablePrefix}${name}`
  const built = migration.tables(dialect, (name) => builder.createTable(full(name)).ifNotExists(), full)
  for (const table of built) await table.execute()
  await sql`
    insert into ${tables.migrations} (id, applied_at, breaking)
    values (${migration.id}, ${dialect.now}, ${migration.breaking ? 1 : 0})`.execute(db)
}
