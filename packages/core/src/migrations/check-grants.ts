import { type RawBuilder, sql } from 'kysely'
import { DatabaseError } from '../errors.js'
import { messageOf } from '../events.js'
import { type Store, type TableName, tableId } from '../store/store.js'

interface MissingGrant {
  readonly right: string
  readonly table: TableName
  /** The driver's error. */
  readonly cause: unknown
}

/** A column of each table that takes any text. */
const COLUMNS: readonly (readonly [TableName, string])[] = [
  ['processes', 'state'],
  ['tasks', 'queue'],
  ['locks', 'holder'],
  ['crashes', 'queue'],
  ['quarantine', 'queue'],
  ['recoveries', 'queue'],
]

/**
 * Finds out at the start whether this connection may do what the library will do, perhaps much later: no job should
 * be there to find out by. Asked by statements that touch no row, since databases tell rights in ways of their own.
 *
 * @throws DatabaseError naming every right that is missing
 */
export async function checkGrants(store: Store): Promise<void> {
  const missing: MissingGrant[] = []
  for (const [table, column] of COLUMNS) {
    for (const [right, statement] of probes(store, table, column)) {
      try {
        await statement.execute(store.db)
      } catch (cause) {
        if (store.dialect.errorKind(cause) !== 'forbidden') throw cause
        missing.push({ right, table, cause })
      }
    }
  }
  if (missing.length > 0) throw await forbiddenError(store, missing)
}

function probes({ tables }: Store, table: TableName, column: string): [right: string, RawBuilder<unknown>][] {
  const [name, text] = [tables[table], sql.id(column)]
  return [
    ['select', sql`select 1 as one from ${name} where 1 = 0`],
    ['insert', sql`insert into ${name} select * from ${name} where 1 = 0`],
    ['update', sql`update ${name} set ${text} = '' where 1 = 0`],
    ['delete', sql`delete from ${name} where 1 = 0`],
  ]
}

export async function forbiddenError(store: Store, missing: readonly MissingGrant[]): Promise<DatabaseError> {
  const { db, place } = store
  const { rows } = await sql<{ name: string }>`select current_user as name`.execute(db)
  const grants = new Map<string, string[]>()
  for (const { right, table } of missing) {
    const name = tableId(place, table).compile(db).sql
    grants.set(name, [...(grants.get(name) ?? []), right])
  }
  const statements = [...grants].map(([name, rights]) => `grant ${rights.join(', ')} on ${name} to …`)
  // Without it nothing in the schema can be read, and databases name only the one or the other.
  if (place.schema !== undefined && missing.some(({ table }) => table === 'migrations')) {
    statements.unshift(`grant usage on schema ${sql.id(place.schema).compile(db).sql} to …`)
  }
  return new DatabaseError(
    `The database user ${rows[0]!.name} lacks rights on Holdfast's tables (${messageOf(missing[0]!.cause)}). Let their ` +
      `owner run, for this user: ${statements.join('; ')}`,
    { cause: missing[0]!.cause },
  )
}
