import { sql } from 'kysely'
import type { Store, TableName } from './store.js'

const CLEARED: readonly TableName[] = ['tasks', 'processes', 'locks', 'crashes', 'quarantine', 'recoveries']

/** Empties every table but the list of migrations. */
export async function clearTables({ db, tables }: Store): Promise<void> {
  for (const name of CLEARED) await sql`delete from ${tables[name]}`.execute(db)
}
