import { MysqlAdapter, MysqlQueryCompiler, sql } from 'kysely'
import { byteExact } from './byte-exact.js'
import type { Dialect, ErrorKind } from './dialect.js'
import { exactText } from './exact-text.js'
import {
  columnList,
  INSERTED,
  insertedValues,
  jobKey,
  jobsOf,
  suspectsAmong,
  type TaskInsertion,
} from './new-tasks.js'
import type { Store } from './store.js'

/** Error numbers of MySQL and MariaDB: https://dev.mysql.com/doc/mysql-errors/9.4/en/server-error-reference.html */
const KINDS: Readonly<Record<number, ErrorKind>> = {
  1020: 'transient', // ER_CHECKREAD: the row changed under MariaDB's snapshot
  1205: 'transient', // ER_LOCK_WAIT_TIMEOUT
  1213: 'transient', // ER_LOCK_DEADLOCK
  1062: 'duplicate', // ER_DUP_ENTRY
  1290: 'read-only', // ER_OPTION_PREVENTS_STATEMENT
  1792: 'read-only', // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
  1836: 'read-only', // ER_READ_ONLY_MODE
  1044: 'forbidden', // ER_DBACCESS_DENIED_ERROR
  1142: 'forbidden', // ER_TABLEACCESS_DENIED_ERROR
  1143: 'forbidden', // ER_COLUMNACCESS_DENIED_ERROR
  1049: 'missing-table', // ER_BAD_DB_ERROR
  1146: 'missing-table', // ER_NO_SUCH_TABLE
  1153: 'bad-value', // ER_NET_PACKET_TOO_LARGE
  1264: 'bad-value', // ER_WARN_DATA_OUT_OF_RANGE
  1366: 'bad-value', // ER_TRUNCATED_WRONG_VALUE_FOR_FIELD
  1406: 'bad-value', // ER_DATA_TOO_LONG
}

/** ER_SP_DOES_NOT_EXIST */
const NO_SAVEPOINT = 1305

const errnoOf = (error: unknown): unknown =>
  typeof error === 'object' && error !== null && 'errno' in error ? error.errno : undefined

const now = sql`utc_timestamp(3)`
const nowMs = sql<number>`timestampdiff(microsecond, '1970-01-01', ${now}) div 1000`

/** The driver escapes values into the statement's text, which can double a payload. */
const PACKET_SHARE = 2.5

const onDuplicateReplace = (columns: readonly string[]) =>
  sql`on duplicate key update ${sql.join(columns.map((name) => sql`${sql.id(name)} = values(${sql.id(name)})`))}`

/** MySQL 8 and newer, MariaDB 10.6 and newer: only what both understand. */
export const mysql: Dialect = {
  name: 'mysql',
  types: {
    id: sql`varchar(191) character set utf8mb4 collate utf8mb4_bin`,
    text: sql`longtext character set utf8mb4 collate utf8mb4_bin`,
    time: sql`datetime(3)`,
  },
  compiler: {
    createAdapter: () => new MysqlAdapter(),
    createQueryCompiler: () => new MysqlQueryCompiler(),
  },
  // Whatever the server's defaults are: other engines have no transactions.
  tableEnd: sql`engine = InnoDB default character set utf8mb4 collate utf8mb4_bin`,
  transactionalDdl: false,
  plugins: [byteExact],
  // The start of the statement, not the end of its wait for a lock: so a lease is rather too short than too long.
  now,
  nowMs,
  after: (ms) => sql`date_add(${now}, interval round((${ms}) * 1000) microsecond)`,
  msSince: (column) => sql<number>`timestampdiff(microsecond, ${column}, ${now}) div 1000`,
  exact: (column) => sql`cast(${sql.ref(column)} as binary)`,
  // Character sets and modes don't matter: see `byteExact` and `exact`.
  async sessionProblem(db) {
    const { rows } = await sql<{
      on: number | string
    }>`select @@session.autocommit as ${sql.id('on')}`.execute(db)
    return Number(rows[0]!.on) === 1
      ? undefined
      : 'autocommit is off, so that no lone statement is committed: leave it on.'
  },
  keyShare: sql`lock in share mode`,
  onConflictReplace: (_key, columns) => onDuplicateReplace(columns),
  // `insert ignore` would cut values that are too long as well.
  onConflictKeep: ([first]) => sql`on duplicate key update ${sql.id(first!)} = ${sql.id(first!)}`,
  insertFree,
  async writeAndReadClock(db, statement) {
    const { numAffectedRows = 0n } = await statement.execute(db)
    if (numAffectedRows === 0n) return undefined
    const { rows } = await sql<{ now: number | string }>`select ${nowMs} as now`.execute(db)
    return Number(rows[0]!.now)
  },
  async writesOne(db, statement) {
    const { numAffectedRows } = await statement.execute(db)
    return numAffectedRows === 1n
  },
  // Only a session setting can do this here; it is put back before anyone else gets the connection.
  /**
   * Nothing here tells a transaction from none, but a savepoint is lost with its transaction. What is written before it was
   * there still was written within: and that is undone by a ROLLBACK that comes after.
   */
  async markEnded({ db, tables }, processId, nonce, mark) {
    const row = sql`where process_id = ${processId} and nonce = ${nonce} and claim_token is null and ended is null`
    await sql`savepoint holdfast_end`.execute(db)
    await sql`update ${tables.tasks} set ending = ${sql.lit(mark)} ${row}`.execute(db)
    try {
      await sql`release savepoint holdfast_end`.execute(db)
    } catch (error) {
      if (errnoOf(error) === NO_SAVEPOINT) return false
      throw error
    }
    const end = sql`update ${tables.tasks} set ended = 1, job_ref = null ${row} and ending = ${sql.lit(mark)}`
    return mysql.writesOne(db, end)
  },
  async bounded(trx, { silence, locks }, work) {
    const { rows } = await sql<Readonly<Record<'silence' | 'locks', number | string>>>`
      select @@session.wait_timeout as silence, @@session.innodb_lock_wait_timeout as locks`.execute(trx)
    const before = rows[0]!
    const set = (waits: number, lockWaits: number) =>
      sql`set session wait_timeout = ${sql.lit(waits)}, session innodb_lock_wait_timeout = ${sql.lit(lockWaits)}`.execute(
        trx,
      )
    const seconds = (ms: number): number => Math.max(1, Math.ceil(ms / 1000))
    await set(seconds(silence), locks === undefined ? Number(before.locks) : seconds(locks))
    try {
      return await work()
    } finally {
      await set(Number(before.silence), Number(before.locks))
    }
  },
  async maxPayloadBytes(db) {
    const { rows } = await sql<{ max: number | string }>`select @@max_allowed_packet as max`.execute(db)
    return Math.floor(Number(rows[0]!.max) / PACKET_SHARE)
  },
  async findTable(db, table) {
    const { rows } = await sql`
      select 1 as found from information_schema.tables
      where table_schema = database() and table_name = ${table}`.execute(db)
    return rows.length > 0 ? 'found' : 'no-table'
  },
  withMigrationLock(db, name, work) {
    const locked: typeof work = async (connection) => {
      // Lock names are the server's, not the database's, and may have 64 characters.
      const lock = sql`sha2(concat(coalesce(database(), ''), ' ', ${name}), 224)`
      const { rows } = await sql<{
        got: number | string | null
      }>`select get_lock(${lock}, 60) as got`.execute(connection)
      if (Number(rows[0]!.got) !== 1) throw new Error('another migration holds the lock for more than 60 s')
      try {
        return await work(connection)
      } finally {
        // A connection that can't say this is lost, and its lock with it.
        await sql`select release_lock(${lock}) as released`.execute(connection).catch(() => undefined)
      }
    }
    return db.connection().execute(locked)
  },
  errorKind(error) {
    const errno = errnoOf(error)
    return typeof errno === 'number' ? (KINDS[errno] ?? 'other') : 'other'
  },
}

/**
 * Whoever meets a row of the same job would wait for its holder, however long that takes, while it holds the process's row;
 * a lone statement can't limit that here. So those are looked for first, and left out.
 */
async function insertFree(store: Store, insertion: TaskInsertion): Promise<ReadonlySet<number>> {
  const { db, tables } = store
  const { processId, epoch } = insertion
  const met = await jobsThatWait(store, insertion)
  const tasks = insertion.tasks.filter(({ queue, jobRef }) => !met.has(jobKey(queue, jobRef)))
  if (tasks.length === 0) return new Set()
  const rows = tasks.map((task) => {
    // As bytes: a union of texts must have one collation.
    const bytes = (value: unknown) => (typeof value === 'string' ? sql`cast(${value} as binary)` : value)
    const values = insertedValues(task).map((value, n) => sql`${bytes(value)} as ${sql.id(INSERTED[n]!)}`)
    return sql`select ${sql.join(values)}`
  })
  const statement = sql`
    insert into ${tables.tasks} (process_id, ${columnList(INSERTED)}, created_at, attempts)
    select p.process_id, ${sql.join(INSERTED.map((column) => sql.id('task', column)))}, ${now}, 0
    from ${tables.processes} as p cross join (${sql.join(rows, sql` union all `)}) as task
    where p.process_id = ${processId} and p.state = 'alive' and p.epoch <= ${epoch} lock in share mode`
  try {
    const { numAffectedRows } = await statement.execute(db)
    return new Set(numAffectedRows === 0n ? [] : tasks.map(({ nonce }) => nonce))
  } catch (error) {
    // Another process has written one of these jobs since.
    if (mysql.errorKind(error) !== 'duplicate') throw error
    return new Set()
  }
}

/** Those of the given jobs that have a row, or are suspects. */
async function jobsThatWait(store: Store, insertion: TaskInsertion): Promise<ReadonlySet<string>> {
  const { db, dialect, tables } = store
  const jobs = jobsOf(insertion.tasks)
  if (jobs === undefined) return new Set()
  const job = sql`queue, ${dialect.exact('job_ref')} as ${sql.id('jobRef')}`
  const suspects =
    insertion.suspectFrom === Number.POSITIVE_INFINITY
      ? sql``
      : sql`union all select ${job} ${suspectsAmong(store, insertion, jobs)}`
  const { rows } = await sql<{ queue: string; jobRef: unknown }>`
    select ${job} from ${tables.tasks} where (queue, job_ref) in (${jobs}) ${suspects}`.execute(db)
  return new Set(rows.map(({ queue, jobRef }) => jobKey(queue, exactText(jobRef))))
}
