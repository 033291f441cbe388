import { PostgresAdapter, PostgresQueryCompiler, sql } from 'kysely'
import type { Dialect, ErrorKind } from './dialect.js'
import {
  columnList,
  INSERTED,
  insertedValues,
  jobsOf,
  suspectsAmong,
  type TaskInsertion,
} from './new-tasks.js'
import { type Store, valuesList } from './store.js'
import { within } from './within.js'

const LOCK_NOT_AVAILABLE = '55P03'

/** SQLSTATE codes and what they mean here: https://www.postgresql.org/docs/current/errcodes-appendix.html */
const KINDS: Readonly<Record<string, ErrorKind>> = {
  '40001': 'transient', // serialization_failure
  '40P01': 'transient', // deadlock_detected
  [LOCK_NOT_AVAILABLE]: 'transient',
  '23505': 'duplicate', // unique_violation
  '25006': 'read-only', // read_only_sql_transaction
  '42501': 'forbidden', // insufficient_privilege
  '42P01': 'missing-table', // undefined_table
  '3F000': 'missing-table', // invalid_schema_name
}

const now = sql`clock_timestamp()`
const nowMs = sql<number>`(extract(epoch from clock_timestamp()) * 1000)::float8`

const codeOf = (error: unknown): unknown =>
  typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined

const onConflictReplace = (key: readonly string[], replaced: readonly string[]) =>
  sql`on conflict (${columnList(key)}) do update set ${sql.join(
    replaced.map((name) => sql`${sql.id(name)} = ${sql.id('excluded', name)}`),
  )}`

export const postgres: Dialect = {
  name: 'postgres',
  types: {
    id: sql`text collate "C"`,
    text: sql`text`,
    time: sql`timestamptz(3)`,
  },
  compiler: {
    createAdapter: () => new PostgresAdapter(),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
  transactionalDdl: true,
  plugins: [],
  // now() would be the start of the transaction.
  now,
  nowMs,
  after: (ms) => sql`clock_timestamp() + (${ms})::float8 * interval '1 millisecond'`,
  msSince: (column) => sql<number>`(extract(epoch from clock_timestamp() - ${column}) * 1000)::float8`,
  exact: (column) => sql`${sql.ref(column)}`,
  async sessionProblem(db) {
    const { rows } = await sql<{ encoding: string }>`select pg_client_encoding() as encoding`.execute(db)
    const { encoding } = rows[0]!
    if (encoding === 'UTF8') return undefined
    return `client_encoding is ${encoding}, and the driver speaks UTF8, so that texts would be stored as others: leave it unset.`
  },
  keyShare: sql`for key share`,
  onConflictReplace,
  onConflictKeep: (key) => sql`on conflict (${columnList(key)}) do nothing`,
  insertFree,
  async writeAndReadClock(db, statement) {
    const { rows } = await sql<{ now: number }>`${statement} returning ${nowMs} as now`.execute(db)
    return rows[0]?.now
  },
  // By its rows: a caller's transaction may be another library's, which tells nothing else.
  async writesOne(db, statement) {
    const { rows } = await sql`${statement} returning 1 as written`.execute(db)
    return rows.length === 1
  },
  async markEnded({ db, tables }, processId, nonce) {
    const isWithin = await within(db)
    return postgres.writesOne(
      db,
      sql`
      update ${tables.tasks} set ended = 1, job_ref = null
      where process_id = ${processId} and nonce = ${nonce} and claim_token is null and ended is null and ${isWithin}`,
    )
  },
  async bounded(trx, { silence, locks }, work) {
    const lockTimeout =
      locks === undefined ? sql`` : sql`, set_config('lock_timeout', ${String(locks)}, true)`
    const value = String(Math.ceil(silence))
    await sql`select set_config('idle_in_transaction_session_timeout', ${value}, true)${lockTimeout}`.execute(
      trx,
    )
    return work()
  },
  maxPayloadBytes: async () => Number.POSITIVE_INFINITY,
  // Looked up in the catalog itself: to_regclass() answers from a cache that does not hear of other processes' tables
  // in the middle of a transaction.
  async findTable(db, table, schema) {
    const schemas = schema === undefined ? sql`current_schemas(false)` : sql`array[${schema}]::name[]`
    const { rows } = await sql<{ found: boolean }>`
      select exists (select 1 from pg_catalog.pg_class as c
        where c.relnamespace = n.oid and c.relname = ${table}) as found
      from pg_catalog.pg_namespace as n where n.nspname = any (${schemas})`.execute(db)
    if (rows.some(({ found }) => found)) return 'found'
    return schema !== undefined && rows.length === 0 ? 'no-schema' : 'no-table'
  },
  async withMigrationLock(db, name, work) {
    const locked: typeof work = async (trx) => {
      await sql`select pg_advisory_xact_lock(hashtextextended(${name}, 0))`.execute(trx)
      return work(trx)
    }
    // Whoever waited for the lock must see what its former holder did, whatever the database's default isolation.
    return db.isTransaction
      ? locked(db)
      : db.transaction().setIsolationLevel('read committed').execute(locked)
  },
  errorKind(error) {
    const code = codeOf(error)
    if (typeof code !== 'string') return 'other'
    // Class 22 is data_exception: the value itself is at fault, not the connection.
    return KINDS[code] ?? (/^22...$/.test(code) ? 'bad-value' : 'other')
  },
}

/** Milliseconds that a lone insert waits for others while it holds the row of its process. */
const MOMENT = 100

async function insertFree(store: Store, insertion: TaskInsertion): Promise<ReadonlySet<number>> {
  const { db, tables } = store
  const { processId, epoch, tasks, suspectFrom } = insertion
  const task = (column: string) => sql.id('task', column)
  const jobs = suspectFrom === Number.POSITIVE_INFINITY ? undefined : jobsOf(tasks)
  const innocent =
    jobs === undefined
      ? sql`true`
      : sql`(task.queue, task.job_ref) not in (select c.queue, c.job_ref ${suspectsAmong(store, insertion, jobs)})
        or task.job_ref is null`
  const statement = sql<{ nonce: number | string }>`
    with moment as materialized (
      select set_config('lock_timeout', ${String(MOMENT)}, true)
    ), alive as (
      select p.process_id from ${tables.processes} as p cross join moment
      where p.process_id = ${processId} and p.state = 'alive' and p.epoch <= ${epoch} for key share of p
    ), task (${columnList(INSERTED)}) as (values ${valuesList(tasks.map(insertedValues))})
    insert into ${tables.tasks} (process_id, ${columnList(INSERTED)}, created_at, attempts)
    select alive.process_id, ${sql.join(INSERTED.map(task))}, ${now}, 0 from alive cross join task
    where ${innocent}
    on conflict (queue, job_ref) do nothing
    returning nonce`
  try {
    const { rows } = await statement.execute(db)
    return new Set(rows.map(({ nonce }) => Number(nonce)))
  } catch (error) {
    if (codeOf(error) !== LOCK_NOT_AVAILABLE) throw error
    return new Set()
  }
}
