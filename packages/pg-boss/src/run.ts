import { within } from '@holdfast/core'
import { CompiledQuery, type Kysely, type RawBuilder, type Transaction } from 'kysely'
import type { BossDatabase } from './boss.js'

/** Runs a statement on pg-boss's database and answers its rows. */
export type Run = <Row>(statement: RawBuilder<Row>) => Promise<Row[]>

// biome-ignore lint/suspicious/noExplicitAny: any schema of the user's must fit
export type AnyDatabase = Kysely<any>

/** Through Kysely: a transaction, or a pool. Plugins of the user's would rename what comes back. */
export const inDatabase = (db: AnyDatabase): Run => {
  const plain = db.withoutPlugins()
  return async (statement) => (await statement.execute(plain)).rows
}

/** A transaction of our own. */
export const inTransaction = <T>(
  db: AnyDatabase,
  work: (run: Run, trx: Transaction<unknown>) => Promise<T>,
): Promise<T> =>
  db
    .withoutPlugins()
    .transaction()
    .setIsolationLevel('read committed')
    .execute((trx) => work(inDatabase(trx), trx))

/** A Kysely transaction as pg-boss's own methods take it, `{ db }`. */
export const asBossDatabase = (trx: AnyDatabase): BossDatabase => {
  const plain = trx.withoutPlugins()
  return {
    executeSql: async (text, values = []) => {
      const { rows } = await plain.executeQuery(CompiledQuery.raw(text, [...values]))
      return { rows }
    },
  }
}

/** The same of a handler's. Statements name their queue as `$1`: those that are sent once it is over find none. */
export async function onlyWithin(trx: AnyDatabase): Promise<BossDatabase> {
  const db = asBossDatabase(trx)
  const condition = (await within(trx)).compile(trx.withoutPlugins())
  return {
    executeSql: (text, values = []) => {
      // Its one parameter comes behind pg-boss's own.
      const isWithin = condition.sql.replace('$1', `$${values.length + 1}`)
      const guarded = text.replace(/\$1(?!\d)/g, `(case when ${isWithin} then $1 end)`)
      return db.executeSql(guarded, [...values, ...condition.parameters])
    },
  }
}
