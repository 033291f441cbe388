import { connect } from '@holdfast/chaos'
import { type CompiledQuery, type Kysely, sql } from 'kysely'
import { expect } from 'vitest'
import { clearTables } from '../../src/store/clear.js'
import { openStore, type Store } from '../../src/store/store.js'
import { Fixture } from './fixture.js'
import { dialect } from './sql.js'

const FOLDER = new URL(`../store-sql/golden/${dialect.name}/`, import.meta.url)

/** A store of which every statement is recorded and compared with what is committed for its kind of database. */
export class GoldenStore implements AsyncDisposable {
  readonly store: Store
  readonly #recorded: string[] = []
  readonly #fixture: Fixture
  readonly #connection: Fixture['db']

  private constructor(fixture: Fixture) {
    this.#fixture = fixture
    this.#connection = connect(fixture.database.url, 4, (statement) => this.#record(statement))
    this.store = openStore(this.#connection, {})
  }

  static async create(): Promise<GoldenStore> {
    return new GoldenStore(await Fixture.create())
  }

  /** For what a test sets up and reads; not recorded. */
  get db(): Fixture['db'] {
    return this.#fixture.db
  }

  /** For connections of a test's own; not recorded. */
  get url(): string {
    return this.#fixture.database.url
  }

  /** A transaction of somebody else's; rolled back when it is disposed of. */
  async open(): Promise<AsyncDisposable & { readonly trx: Kysely<unknown>; commit(): Promise<void> }> {
    const trx = await this.db.startTransaction().execute()
    return {
      trx: trx as unknown as Kysely<unknown>,
      commit: () => trx.commit().execute(),
      async [Symbol.asyncDispose]() {
        if (!trx.isCommitted) await trx.rollback().execute()
      },
    }
  }

  async clear(): Promise<void> {
    await clearTables(openStore(this.db, {}))
    await sql`delete from jobs`.execute(this.db)
  }

  /**
   * Runs `work` and compares the statements it sent with `golden/<kind of database>/<name>.sql`. Run vitest with `-u` to
   * accept a change; in CI nothing is written.
   */
  async golden<T>(name: string, work: (store: Store) => Promise<T>): Promise<T> {
    this.#recorded.length = 0
    const result = await work(this.store)
    const text = this.#recorded.map((statement) => `${statement};\n`).join('\n')
    await expect(text).toMatchFileSnapshot(new URL(`${name}.sql`, FOLDER).pathname)
    return result
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection.destroy()
    await this.#fixture[Symbol.asyncDispose]()
  }

  #record({ sql: text, parameters }: CompiledQuery): void {
    // All times are the database's.
    expect(parameters.filter((value) => value instanceof Date)).toEqual([])
    const lines = text.split('\n').map((line) => line.trim())
    this.#recorded.push(lines.filter((line) => line !== '').join('\n'))
  }
}
