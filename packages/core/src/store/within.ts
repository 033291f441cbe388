import { randomUUID } from 'node:crypto'
import { type Kysely, type RawBuilder, sql } from 'kysely'

/** Of Postgres: lives until the end of the transaction that has set it. */
const SETTING = 'holdfast.within'

/**
 * For statements in a transaction of a caller's, on Postgres: a condition that holds within that transaction alone. One that
 * is sent late, behind others or behind something that was waited for, may come after the caller's ROLLBACK, which Kysely
 * sends at once: it would count by itself, or in the next transaction on that connection.
 */
// biome-ignore lint/suspicious/noExplicitAny: a transaction on any schema of the user's must fit
export async function within(trx: Kysely<any>): Promise<RawBuilder<boolean>> {
  const token = randomUUID()
  await sql`select set_config(${SETTING}, ${token}, true)`.execute(trx.withoutPlugins())
  return sql`coalesce(current_setting(${sql.lit(SETTING)}, true) = ${token}, false)`
}
