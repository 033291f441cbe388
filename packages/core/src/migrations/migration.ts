import type { CreateTableBuilder } from 'kysely'
import type { Dialect } from '../store/dialect.js'

// Columns accumulate in the builder's type, which no caller needs.
// biome-ignore lint/suspicious/noExplicitAny: see above
export type TableBuilder = CreateTableBuilder<any, any>

/** The steps of the schema by name, in order: each is applied once and recorded in the table `migrations`. */
export type MigrationId = '0001_init'

/** One step of the schema. Steps are never changed once released, only added. */
export interface Migration {
  readonly id: MigrationId
  /** Older versions of the library can't run on the schema after this step. */
  readonly breaking: boolean
  /** The tables this step creates. `table` starts one under its full name; `name` gives a constraint its full name. */
  tables(
    dialect: Dialect,
    table: (name: string) => TableBuilder,
    name: (constraint: string) => string,
  ): readonly TableBuilder[]
}
