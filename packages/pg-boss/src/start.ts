import { ConfigError, type Monitor } from '@holdfast/core'
import { sql } from 'kysely'
import type { Boss, BossDatabase } from './boss.js'
import { jobColumns } from './job-sql.js'
import { type AnyDatabase, inDatabase } from './run.js'
import type { BossTables } from './tables.js'

/** What pg-boss's schema is like. */
export interface BossSchema {
  /** pg-boss ends a job only while it is the attempt that its worker fetched: since 12.35. */
  readonly fences: boolean
  /** Finished jobs go to a table of their own after a while: in 10. */
  readonly archives: boolean
}

/** Of pg-boss 10.4. */
const TEN = 24
/** Of 12.35, the first whose workers end nothing but their own attempt. */
const TWELVE = 43

/** Columns that statements of ours name. */
const COLUMNS = [
  ...['id', 'name', 'state', 'retry_limit', 'retry_count', 'retry_delay', 'retry_backoff', 'started_on'],
  ...['start_after', 'completed_on', 'keep_until', 'output', 'dead_letter', 'singleton_on'],
]

/**
 * Makes sure that what recovery writes, what the monitor writes and what pg-boss reads are one database.
 *
 * @throws ConfigError
 */
export async function checkStart(
  { boss, db, tables }: { readonly boss: Boss; readonly db: AnyDatabase; readonly tables: BossTables },
  monitor: Monitor,
): Promise<BossSchema> {
  await checkMonitor(db, monitor)
  const schema = await readSchema(db, tables)
  await checkBoss(boss, db, tables)
  return schema
}

async function checkMonitor(db: AnyDatabase, { processId, config }: Monitor): Promise<void> {
  const { tablePrefix, schema } = config
  const name = `${tablePrefix}processes`
  const processes = schema === undefined ? sql.id(name) : sql.id(schema, name)
  const rows = await inDatabase(db)(sql`select 1 from ${processes} where process_id = ${processId}`).catch(
    orEmptyIfMissing,
  )
  if (rows.length === 1) return
  throw new ConfigError(
    "pgBossAdapter's db is not on the monitor's database: give both the same Kysely. Jobs are recovered in the " +
      "monitor's own transaction, so its tables must be in pg-boss's database.",
  )
}

async function readSchema(db: AnyDatabase, tables: BossTables): Promise<BossSchema> {
  const run = inDatabase(db)
  const [found] = await run(sql<{ version: number }>`select version from ${tables.version}`).catch(
    orEmptyIfMissing<{ version: number }>,
  )
  if (found === undefined) {
    throw new ConfigError(
      `There is no pg-boss in the monitor's database: no ${tables.jobName}. Start pg-boss first, or name its schema ` +
        'with `pgBossAdapter({ schema })`.',
    )
  }
  const { version } = found
  if (version !== TEN && version < TWELVE) {
    throw new ConfigError(
      `pg-boss's schema in the database is version ${version}; this adapter knows ${TEN} (pg-boss 10.4) and ${TWELVE} or ` +
        'newer (pg-boss 12.35).',
    )
  }
  const columns = await jobColumns(run, tables)
  const missing = COLUMNS.filter((column) => !columns.has(column))
  if (missing.length > 0) {
    throw new ConfigError(
      `pg-boss's schema in the database (version ${version}) is newer than this adapter: its jobs have no ` +
        `${missing.join(', ')}. Update @holdfast/pg-boss.`,
    )
  }
  return { fences: version !== TEN, archives: version === TEN }
}

async function checkBoss(boss: Boss, db: AnyDatabase, { jobName }: BossTables): Promise<void> {
  const ours = await inDatabase(db)(sql<Identity>`${sql.raw(IDENTITY)}`)
  let theirs: Identity | undefined
  try {
    const database: BossDatabase = boss.getDb()
    theirs = (await database.executeSql(IDENTITY))?.rows[0]
  } catch (cause) {
    throw new ConfigError(`pg-boss does not answer: \`await boss.start()\` before the monitor starts.`, {
      cause,
    })
  }
  // A pg-boss 10 that was not started answers nothing.
  if (theirs === undefined) throw new ConfigError('pg-boss has not started: `await boss.start()` first.')
  if (ours[0]!.started === theirs.started && ours[0]!.database === theirs.database) return
  throw new ConfigError(
    `pg-boss is connected to another database than the monitor, which has a ${jobName} too: give both the same one.`,
  )
}

/** Tells one database from any other, also through a pooler. */
const IDENTITY = `
  select extract(epoch from pg_postmaster_start_time())::text as started,
    (select oid from pg_database where datname = current_database())::text as database`

interface Identity {
  readonly started: string
  readonly database: string
}

/** Postgres's codes of a table and of a schema that isn't there. */
function orEmptyIfMissing<Row>(error: unknown): Row[] {
  const { code } = error as { code?: unknown }
  if (code === '42P01' || code === '3F000') return []
  throw error
}
