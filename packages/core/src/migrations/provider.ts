import type { Kysely } from 'kysely'
import { configError, storeProblems } from '../check-options.js'
import type { StoreOptions } from '../options.js'
import { migrateWith } from './migrate.js'
import type { MigrationId } from './migration.js'
import { migrations } from './steps.js'

/** A step in the shape of Kysely's `Migration`. There is no way down: it would drop work in flight. */
export interface HoldfastMigration {
  /** Does nothing where the step is applied already, by whatever way. */
  // biome-ignore lint/suspicious/noExplicitAny: any schema of the user's must fit
  up(db: Kysely<any>): Promise<void>
}

/** The steps in the shape of Kysely's `MigrationProvider`. */
export interface HoldfastMigrationProvider {
  getMigrations(): Promise<Record<`holdfast_${MigrationId}`, HoldfastMigration>>
}

/**
 * Holdfast's tables for a Kysely `Migrator` of your own, beside or instead of `migrate()`: each knows what the other
 * has done. Kysely runs migrations in the order of their names and wants new ones last, so among your own give each step
 * a name of yours.
 *
 * @throws ConfigError
 */
export function migrationProvider(options: StoreOptions = {}): HoldfastMigrationProvider {
  const problems = storeProblems(options)
  if (problems.length > 0) throw configError(problems)
  const steps = migrations.map(({ id }, index) => {
    const upToThis = migrations.slice(0, index + 1)
    const up: HoldfastMigration['up'] = async (db) => void (await migrateWith(db, options, upToThis))
    return [`holdfast_${id}`, { up }] as const
  })
  return {
    getMigrations: async () =>
      Object.fromEntries(steps) as Record<`holdfast_${MigrationId}`, HoldfastMigration>,
  }
}
