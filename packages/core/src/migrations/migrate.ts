import type { Kysely } from 'kysely'
import { configError, storeProblems } from '../check-options.js'
import { withDatabaseErrors } from '../database-errors.js'
import type { StoreOptions } from '../options.js'
import { openStore } from '../store/store.js'
import { applySteps } from './apply.js'
import type { Migration } from './migration.js'
import { migrations } from './steps.js'

/**
 * Creates or upgrades Holdfast's tables. Safe to call from every process at every start: racing calls wait for each
 * other, and a call that finds nothing to do changes nothing and needs no more rights than running does. A call that
 * was cut off half-way is completed by the next.
 *
 * @param db on Postgres also a transaction of yours; MySQL and MariaDB can't undo a change of the schema
 * @returns the ids of the steps that this call applied
 * @throws ConfigError, SchemaVersionError when the schema is newer in a breaking way, ReadOnlyDatabaseError,
 * DatabaseError for instance without the right to create tables
 */
// biome-ignore lint/suspicious/noExplicitAny: any schema of the user's must fit
export function migrate(db: Kysely<any>, options: StoreOptions = {}): Promise<string[]> {
  return migrateWith(db, options, migrations)
}

/** `migrate()` for some of the steps. */
export async function migrateWith(
  db: Kysely<unknown>,
  options: StoreOptions,
  steps: readonly Migration[],
): Promise<string[]> {
  const problems = storeProblems(options, db)
  if (problems.length > 0) throw configError(problems)
  const store = openStore(db, options)
  return withDatabaseErrors(store, "create or upgrade Holdfast's tables", () => applySteps(store, steps))
}
