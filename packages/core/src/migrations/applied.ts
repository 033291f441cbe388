import { sql } from 'kysely'
import { SchemaVersionError } from '../errors.js'
import type { Store } from '../store/store.js'
import type { Migration } from './migration.js'
import { migrations } from './steps.js'

/**
 * The given steps that are not applied yet.
 *
 * @throws SchemaVersionError when a newer version has changed the tables in a breaking way
 */
export async function missingSteps(
  { db, tables }: Store,
  steps: readonly Migration[] = migrations,
): Promise<readonly Migration[]> {
  const { rows } = await sql<{ id: string; breaking: number | string }>`
    select id, breaking from ${tables.migrations} order by id`.execute(db)
  const known = new Set<string>(migrations.map(({ id }) => id))
  const breaking = rows.filter((row) => Number(row.breaking) !== 0 && !known.has(row.id)).map(({ id }) => id)
  if (breaking.length > 0) {
    throw new SchemaVersionError(
      `Holdfast's tables were changed by a newer version (${breaking.join(', ')}) so that this one can't use them. ` +
        'Upgrade @holdfast/core in this process.',
    )
  }
  const applied = new Set(rows.map(({ id }) => id))
  return steps.filter(({ id }) => !applied.has(id))
}
