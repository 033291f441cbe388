import { setTimeout as delay } from 'node:timers/promises'
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely'
import { jittered } from '../clock.js'
import type { StoreOptions } from '../options.js'
import { type Dialect, dialectOf } from './dialect.js'
import { RefuseLate } from './refuse-late.js'

const TABLES = ['processes', 'tasks', 'locks', 'crashes', 'quarantine', 'recoveries', 'migrations'] as const
export type TableName = (typeof TABLES)[number]

/** Where the tables are and how to speak to their database. */
export interface Store {
  readonly db: Kysely<unknown>
  readonly dialect: Dialect
  /** Where the tables are: what the monitor was told. */
  readonly place: StoreOptions
  readonly tables: Readonly<Record<TableName, RawBuilder<unknown>>>
  /** What the server allows, once it was asked. */
  readonly limits: { payloadBytes: number }
}

/** A store whose statements run in one transaction. */
export interface TransactionStore extends Store {
  readonly db: Transaction<unknown>
}

/** The user's plugins would rewrite our identifiers and rows, so they stay out. */
export function openStore(db: Kysely<unknown>, options: StoreOptions): Store {
  const names = TABLES.map((name) => [name, tableId(options, name)] as const)
  const { schema, tablePrefix } = options
  const dialect = dialectOf(db, options.dialect)
  return {
    db: withOwnPlugins(db, dialect),
    dialect,
    place: {
      ...(schema === undefined ? {} : { schema }),
      ...(tablePrefix === undefined ? {} : { tablePrefix }),
      ...(options.dialect === undefined ? {} : { dialect: options.dialect }),
    },
    tables: Object.fromEntries(names) as Record<TableName, RawBuilder<unknown>>,
    limits: { payloadBytes: Number.POSITIVE_INFINITY },
  }
}

export function tableId(
  { schema, tablePrefix = 'holdfast_' }: StoreOptions,
  name: TableName,
): RawBuilder<unknown> {
  const table = `${tablePrefix}${name}`
  return schema === undefined ? sql.id(table) : sql.id(schema, table)
}

/** The same store inside the caller's transaction. */
export function joinTransaction(store: Store, trx: Transaction<unknown>): TransactionStore {
  return { ...store, db: withOwnPlugins(trx, store.dialect) }
}

function withOwnPlugins<T extends Kysely<unknown>>(db: T, { plugins }: Dialect): T {
  return plugins.reduce((plugged, plugin) => plugged.withPlugin(plugin), db.withoutPlugins()) as T
}

/** Runs `work` in a transaction of our own, again when the database asks for it; `work` must bear repetition. */
export function inTransaction<T>(store: Store, work: (store: TransactionStore) => Promise<T>): Promise<T> {
  return retryTransient(store, () =>
    store.db
      .transaction()
      .setIsolationLevel('read committed')
      .execute(async (trx) => {
        const late = new RefuseLate()
        try {
          return await work({ ...store, db: trx.withPlugin(late) })
        } finally {
          late.end()
        }
      }),
  )
}

/** Milliseconds ahead of now from which a time in a row was written before the database's clock stepped back. */
export const AHEAD = 1_000

const MAX_TRIES = 6

/** Repeats `work` after a deadlock, a lock timeout or a serialization failure, with growing, jittered pauses. */
export async function retryTransient<T>({ dialect }: Store, work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work()
    } catch (error) {
      if (tries >= MAX_TRIES || dialect.errorKind(error) !== 'transient') throw error
      await delay(jittered(5 * 2 ** tries, 0.5))
    }
  }
}

/** Splits `items` so that no statement has more parameters than a database takes. */
export function* chunks<T>(items: readonly T[], size = 500): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size)
}

/** `(a, b), (c, d)` for an insert. */
export function valuesList(rows: readonly (readonly unknown[])[]): RawBuilder<unknown> {
  return sql.join(rows.map((row) => sql`(${sql.join(row)})`))
}
