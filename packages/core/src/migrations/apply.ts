import { sql } from 'kysely'
import { ConfigError } from '../errors.js'
import { retryTransient, type Store } from '../store/store.js'
import { missingSteps } from './applied.js'
import type { Migration } from './migration.js'
import { MigrationStatements } from './statements.js'

/**
 * One lock for all of a database's instances of Holdfast: two that share a schema create it both. Nobody asks for
 * another migrator's lock while holding this one, so that they can't wait for each other.
 */
const LOCK = 'holdfast'

/** Applies those of the steps that are missing. Answers their ids. */
export async function applySteps(store: Store, steps: readonly Migration[]): Promise<string[]> {
  const { db, dialect } = store
  if (db.isTransaction && !dialect.transactionalDdl) {
    throw new ConfigError(
      'MySQL and MariaDB commit whatever is under way when a table is created, so that no migration can be part of a ' +
        'transaction. Pass db, not trx.',
    )
  }
  // Most calls end here: without a lock, and without the right to create anything.
  if ((await look(store, steps)).missing.length === 0) return []
  const apply = () =>
    dialect.withMigrationLock(db, LOCK, (locked) => applyLocked({ ...store, db: locked }, steps))
  return db.isTransaction ? apply() : retryTransient(store, apply)
}

async function applyLocked(store: Store, steps: readonly Migration[]): Promise<string[]> {
  const { found, missing } = await look(store, steps)
  const statements = new MigrationStatements(store.dialect, store.place)
  const run = async (texts: readonly string[]): Promise<void> => {
    for (const text of texts) await sql.raw(text).execute(store.db)
  }
  // Not simply "if not exists": that needs the right to create them even where they exist.
  if (found === 'no-schema') await run(statements.createSchema())
  if (found !== 'found') await run([statements.createMigrationsTable()])
  for (const step of missing) await run(statements.step(step))
  return missing.map(({ id }) => id)
}

async function look(store: Store, steps: readonly Migration[]) {
  const { schema, tablePrefix = 'holdfast_' } = store.place
  const found = await store.dialect.findTable(store.db, `${tablePrefix}migrations`, schema)
  return { found, missing: found === 'found' ? await missingSteps(store, steps) : steps }
}
