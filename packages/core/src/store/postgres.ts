import { sql } from 'kysely'
import type { Dialect, ErrorKind } from './dialect.js'

/** SQLSTATE codes and what they mean here: https://www.postgresql.org/docs/current/errcodes-appendix.html */
const KINDS: Readonly<Record<string, ErrorKind>> = {
  '40001': 'transient', // serialization_failure
  '40P01': 'transient', // deadlock_detected
  '55P03': 'transient', // lock_not_available
  '23505': 'duplicate', // unique_violation
  '25006': 'read-only', // read_only_sql_transaction
  '42P01': 'missing-table', // undefined_table
  '3F000': 'missing-table', // invalid_schema_name
}

const columns = (names: readonly string[]) => sql.join(names.map((name) => sql.ref(name)))

export const postgres: Dialect = {
  name: 'postgres',
  types: {
    id: sql`text collate "C"`,
    text: sql`text`,
    time: sql`timestamptz(3)`,
  },
  // now() would be the start of the transaction.
  now: sql`clock_timestamp()`,
  nowMs: sql<number>`(extract(epoch from clock_timestamp()) * 1000)::float8`,
  after: (ms) => sql`clock_timestamp() + (${ms})::float8 * interval '1 millisecond'`,
  msSince: (column) => sql<number>`(extract(epoch from clock_timestamp() - ${column}) * 1000)::float8`,
  onConflictReplace: (key, replaced) =>
    sql`on conflict (${columns(key)}) do update set ${sql.join(
      replaced.map((name) => sql`${sql.ref(name)} = ${sql.ref(`excluded.${name}`)}`),
    )}`,
  onConflictKeep: (key) => sql`on conflict (${columns(key)}) do nothing`,
  lockShared: (alias) => sql`for key share of ${sql.ref(alias)}`,
  async limitSilence(trx, ms) {
    const value = String(Math.ceil(ms))
    await sql`select set_config('idle_in_transaction_session_timeout', ${value}, true)`.execute(trx)
  },
  async withMigrationLock(db, name, work) {
    const locked: typeof work = async (trx) => {
      await sql`select pg_advisory_xact_lock(hashtextextended(${name}, 0))`.execute(trx)
      return work(trx)
    }
    return db.isTransaction ? locked(db) : db.transaction().execute(locked)
  },
  errorKind(error) {
    const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
    if (typeof code !== 'string') return 'other'
    // Class 22 is data_exception: the value itself is at fault, not the connection.
    return KINDS[code] ?? (/^22...$/.test(code) ? 'bad-value' : 'other')
  },
}
