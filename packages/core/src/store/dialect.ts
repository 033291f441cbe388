import type { DialectAdapter, Expression, Kysely, KyselyPlugin, QueryCompiler, RawBuilder } from 'kysely'
import { ConfigError } from '../errors.js'
import { mysql } from './mysql.js'
import type { TaskInsertion } from './new-tasks.js'
import { postgres } from './postgres.js'
import type { Store, TransactionStore } from './store.js'

export type DialectName = 'postgres' | 'mysql'

/** Column types that differ between databases. */
export interface ColumnTypes {
  /** Ids, names and references: compared byte by byte. */
  readonly id: RawBuilder<unknown>
  /** Free text of any length. */
  readonly text: RawBuilder<unknown>
  /** A moment with millisecond precision and no time zone trouble. */
  readonly time: RawBuilder<unknown>
}

/** What a driver's error means to us. */
export type ErrorKind =
  | 'transient'
  | 'duplicate'
  | 'read-only'
  | 'missing-table'
  | 'forbidden'
  | 'bad-value'
  | 'other'

/** Of a transaction, in ms. */
export interface Limits {
  /** How long its client may fall silent; then the database ends it. */
  readonly silence: number
  /** How long a statement waits for a lock; then it fails. @default as the database is set */
  readonly locks?: number
}

/** Everything that differs between databases. Nothing outside the dialect files may ask which database it is. */
export interface Dialect {
  readonly name: DialectName
  readonly types: ColumnTypes
  /** What Kysely needs to write this database's SQL without a database. */
  readonly compiler: { createAdapter(): DialectAdapter; createQueryCompiler(): QueryCompiler }
  /** Of our own statements. */
  readonly plugins: readonly KyselyPlugin[]
  /** The end of every `create table`. */
  readonly tableEnd?: RawBuilder<unknown>
  /** Whether statements that change the schema can be rolled back; where not, each commits by itself. */
  readonly transactionalDdl: boolean
  /** The database's clock, evaluated when the row is. */
  readonly now: Expression<unknown>
  /** The database's clock as milliseconds since 1970. */
  readonly nowMs: RawBuilder<number>
  /** `ms` after now (before now when negative). */
  after(ms: number | Expression<unknown>): RawBuilder<unknown>
  /** Milliseconds from `column` until now; negative when it lies ahead. */
  msSince(column: Expression<unknown>): RawBuilder<number>
  /** A column of text for `exactText`, which no setting of the session can have changed. */
  exact(column: string): RawBuilder<unknown>
  /** What is wrong with the session of a connection, so that nothing would be stored, or texts as others. */
  sessionProblem(db: Kysely<unknown>): Promise<string | undefined>
  /** The end of a select that keeps its rows from being fenced or ended, though not from heartbeats. */
  readonly keyShare: RawBuilder<unknown>
  /** The end of an insert that replaces `columns` of a row with the same `key`. */
  onConflictReplace(key: readonly string[], columns: readonly string[]): RawBuilder<unknown>
  /** The end of an insert that leaves a row with the same `key` as it is. */
  onConflictKeep(key: readonly string[]): RawBuilder<unknown>
  /**
   * Registers those of these tasks that are no suspects, and whose jobs have no row yet; only if the process is alive.
   * Answers the nonces that it wrote. One lone statement, which waits for others for a moment only: it holds the
   * process's row.
   */
  insertFree(store: Store, insertion: TaskInsertion): Promise<ReadonlySet<number>>
  /**
   * Runs an insert or update of one row. Answers the database's clock (ms since 1970) after it, or undefined when no row
   * was written.
   */
  writeAndReadClock(db: Kysely<unknown>, statement: RawBuilder<unknown>): Promise<number | undefined>
  /** Runs a write of one row at most. Answers whether it wrote it. */
  writesOne(db: Kysely<unknown>, statement: RawBuilder<unknown>): Promise<boolean>
  /**
   * Writes that a task is ended, in the transaction of a caller's and only in that: when it has been sent its ROLLBACK
   * before, nothing is written. Answers whether it was.
   *
   * @param mark which time this is, for this task
   */
  markEnded(trx: TransactionStore, processId: string, nonce: number, mark: number): Promise<boolean>
  /** Runs `work` within limits that the database keeps to. */
  bounded<T>(trx: Kysely<unknown>, limits: Limits, work: () => Promise<T>): Promise<T>
  /** Largest stored payload in bytes that surely fits into one statement. */
  maxPayloadBytes(db: Kysely<unknown>): Promise<number>
  /** Looks for a table, as a statement that names it would; fails no transaction when it is not there. */
  findTable(db: Kysely<unknown>, table: string, schema?: string): Promise<'found' | 'no-schema' | 'no-table'>
  /** Runs migrations one at a time: in one transaction where DDL is transactional. */
  withMigrationLock<T>(
    db: Kysely<unknown>,
    name: string,
    work: (db: Kysely<unknown>) => Promise<T>,
  ): Promise<T>
  errorKind(error: unknown): ErrorKind
}

/**
 * The dialect of a Kysely instance. Recognised by feature flags: `instanceof` and class names fail when two copies of
 * Kysely meet or a minifier ran.
 *
 * @throws ConfigError for a database that isn't supported
 */
export function dialectOf(db: Kysely<unknown>, name?: DialectName): Dialect {
  const found = databaseOf(name, db)
  if (found !== undefined) return dialectNamed(found)
  throw new ConfigError(
    "The database of this Kysely instance isn't supported; Holdfast runs on Postgres, MySQL and MariaDB.",
  )
}

/** @throws ConfigError */
export function dialectNamed(name: DialectName): Dialect {
  if (name === 'postgres') return postgres
  if (name === 'mysql') return mysql
  throw new ConfigError(`dialect must be 'postgres' or 'mysql' (MariaDB too): ${JSON.stringify(name)}.`)
}

/** The database that options name or lead to; undefined when they don't, or are wrong. */
export const databaseOf = (name: DialectName | undefined, db: unknown): DialectName | undefined =>
  name ?? (isKysely(db) ? detectDialect(db) : undefined)

const isKysely = (db: unknown): db is Kysely<unknown> =>
  typeof (db as Kysely<unknown> | undefined)?.getExecutor === 'function'

function detectDialect(db: Kysely<unknown>): DialectName | undefined {
  const { supportsReturning, supportsTransactionalDdl, supportsOutput } = db.getExecutor().adapter
  if (supportsReturning && supportsTransactionalDdl) return 'postgres'
  if (!supportsReturning && !supportsTransactionalDdl && !supportsOutput) return 'mysql'
  return undefined
}
