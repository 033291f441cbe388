import { type Compilable, DummyDriver, Kysely, sql } from 'kysely'
import type { StoreOptions } from '../options.js'
import type { Dialect } from '../store/dialect.js'
import { tableId } from '../store/store.js'
import type { Migration, TableBuilder } from './migration.js'

/**
 * The statements of the migrations, as text: `migrate()` runs the very ones that `migrationSql()` shows. Each can run
 * again where it ran before, so that a run cut off half-way is completed by the next.
 */
export class MigrationStatements {
  readonly #dialect: Dialect
  readonly #place: StoreOptions
  readonly #db: Kysely<unknown>

  constructor(dialect: Dialect, place: StoreOptions) {
    this.#dialect = dialect
    this.#place = place
    this.#db = new Kysely({
      dialect: {
        ...dialect.compiler,
        createDriver: () => new DummyDriver(),
        createIntrospector: () => {
          throw new Error('there is no database to look into')
        },
      },
    })
  }

  createSchema(): string[] {
    const { schema } = this.#place
    return schema === undefined ? [] : [this.#text(this.#db.schema.createSchema(schema).ifNotExists())]
  }

  /** Where applied steps are recorded. */
  createMigrationsTable(): string {
    const { id, time } = this.#dialect.types
    const table = this.#table('migrations')
      .addColumn('id', id, (c) => c.primaryKey())
      .addColumn('applied_at', time, (c) => c.notNull())
      .addColumn('breaking', 'integer', (c) => c.notNull())
    return this.#text(this.#end(table))
  }

  /** What a step does, and the record of it as the last statement. */
  step({ id, breaking, tables }: Migration): string[] {
    const { now, onConflictKeep } = this.#dialect
    const built = tables(
      this.#dialect,
      (name) => this.#table(name),
      (name) => this.#name(name),
    )
    const record = sql`insert into ${tableId(this.#place, 'migrations')} (id, applied_at, breaking) values (${sql.lit(id)}, ${now}, ${sql.lit(breaking ? 1 : 0)}) ${onConflictKeep(['id'])}`
    return [...built.map((table) => this.#text(this.#end(table))), record.compile(this.#db).sql]
  }

  #table(name: string): TableBuilder {
    const { schema } = this.#place
    const builder = schema === undefined ? this.#db.schema : this.#db.schema.withSchema(schema)
    return builder.createTable(this.#name(name)).ifNotExists()
  }

  #end(table: TableBuilder): TableBuilder {
    const { tableEnd } = this.#dialect
    return tableEnd === undefined ? table : table.modifyEnd(tableEnd)
  }

  #name(name: string): string {
    return `${this.#place.tablePrefix ?? 'holdfast_'}${name}`
  }

  #text(statement: Compilable): string {
    return statement.compile().sql
  }
}
