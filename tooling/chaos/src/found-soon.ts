import { sql } from 'kysely'
import type { Child } from './child.js'
import type { TestDatabase } from './database.js'

/** Milliseconds, and the same as an interval of any database. */
const LEFT = 1_000
const SECOND = sql`interval '1' second`

/**
 * A process may have a lease so long that no pause of a busy machine is taken for its death, and is found soon all the
 * same once it was killed: what is left of its lease is cut to a second then.
 */
export function foundSoon(child: Child, { db, url }: TestDatabase): void {
  const cut = async (): Promise<void> => {
    const { signal } = await child.exited
    if (signal !== 'SIGKILL') return
    const now = url.startsWith('mysql:') ? sql`utc_timestamp(3)` : sql`clock_timestamp()`
    await sql`update holdfast_processes set orphan_threshold_ms = ${LEFT}, lease_expires_at = ${now} + ${SECOND}
      where pid = ${child.pid} and state = 'alive'`.execute(db)
  }
  cut().catch(async (error) => {
    // The test that it was killed by may be over, and the database gone.
    const isThere = await sql`select 1 from holdfast_processes`.execute(db).then(
      () => true,
      () => false,
    )
    if (isThere) console.error('The lease of a killed process was not cut:', error)
  })
}
