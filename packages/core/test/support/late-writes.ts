import { type AnyDatabase, connect, poolDialect } from '@holdfast/chaos'
import { CompiledQuery, type DatabaseConnection, type Driver, Kysely, type QueryResult } from 'kysely'

/** What becomes of a statement whose client never hears of it: it arrives when the test says so, or at once. */
export type Loss = 'the statement' | 'the answer'

/**
 * Connections that lose a statement, or its answer, as a network does. One within a transaction never arrives: the server
 * undoes that when it hears that its client is gone.
 */
export class LateWrites implements AsyncDisposable {
  /** For what loses statements. */
  readonly db: AnyDatabase
  readonly #server: AnyDatabase
  #losing: { pattern: RegExp; loss: Loss } | undefined
  readonly #late: CompiledQuery[] = []
  readonly #underWay: Promise<unknown>[] = []

  constructor(url: string) {
    this.#server = connect(url, 5)
    const base = poolDialect(url)
    this.db = new Kysely({
      dialect: {
        createAdapter: () => base.createAdapter(),
        createIntrospector: (db) => base.createIntrospector(db),
        createQueryCompiler: () => base.createQueryCompiler(),
        createDriver: () => this.#driver(base.createDriver()),
      },
    })
  }

  /** Loses the next statement that is like this. */
  lose(pattern: RegExp, loss: Loss = 'the statement'): void {
    this.#losing = { pattern, loss }
  }

  /** Whether something that was lost may arrive yet. */
  get hasLost(): boolean {
    return this.#late.length > 0
  }

  /** What was lost arrives now. Answers what the server said. */
  async deliver(): Promise<QueryResult<unknown>> {
    return this.#server.executeQuery(this.#late.shift()!)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#underWay)
    await Promise.all([this.db.destroy(), this.#server.destroy()])
  }

  #driver(driver: Driver): Driver {
    const wrapped = new WeakMap<DatabaseConnection, DatabaseConnection>()
    const real = new WeakMap<DatabaseConnection, DatabaseConnection>()
    const inTransaction = new WeakSet<DatabaseConnection>()
    const wrap = (connection: DatabaseConnection): DatabaseConnection => {
      const lossy: DatabaseConnection = wrapped.get(connection) ?? {
        executeQuery: (query) => this.#execute(connection, query, inTransaction.has(connection)),
        streamQuery: (query, size) => connection.streamQuery(query, size),
      }
      wrapped.set(connection, lossy)
      real.set(lossy, connection)
      return lossy
    }
    const of = (connection: DatabaseConnection): DatabaseConnection => real.get(connection)!
    return {
      init: () => driver.init(),
      acquireConnection: async () => wrap(await driver.acquireConnection()),
      beginTransaction: (connection, settings) => {
        inTransaction.add(of(connection))
        return driver.beginTransaction(of(connection), settings)
      },
      commitTransaction: (connection) => {
        inTransaction.delete(of(connection))
        return driver.commitTransaction(of(connection))
      },
      rollbackTransaction: (connection) => {
        inTransaction.delete(of(connection))
        return driver.rollbackTransaction(of(connection))
      },
      releaseConnection: (connection) => driver.releaseConnection(of(connection)),
      destroy: () => driver.destroy(),
    }
  }

  #execute<R>(
    connection: DatabaseConnection,
    query: CompiledQuery,
    inTransaction: boolean,
  ): Promise<QueryResult<R>> {
    const { pattern, loss } = this.#losing ?? {}
    if (pattern?.test(query.sql) !== true) return connection.executeQuery<R>(query)
    this.#losing = undefined
    const late = CompiledQuery.raw(query.sql, [...query.parameters])
    if (loss === 'the statement' && !inTransaction) this.#late.push(late)
    else if (loss === 'the answer')
      this.#underWay.push(this.#server.executeQuery(late).catch(() => undefined))
    return Promise.reject(Object.assign(new Error('the connection is lost'), { code: 'ECONNRESET' }))
  }
}
