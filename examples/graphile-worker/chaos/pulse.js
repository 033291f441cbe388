import { setTimeout as delay } from 'node:timers/promises'
import { note } from '@holdfast/chaos/harm'
import { sql } from 'kysely'

/**
 * Writes to the database as often as the workers' hearts beat, with an entry before and after each. When a beat of this
 * one comes late the machine is too busy, or Postgres is: then those of the workers may be late too, and their leases
 * run out although nobody harmed them.
 */
export async function beat(db, { heartbeatInterval }, signal) {
  await sql`create table pulse (beats int)`.execute(db)
  await sql`insert into pulse values (0)`.execute(db)
  while (!signal.aborted) {
    note('beating')
    await delay(heartbeatInterval)
    const isThrough = await sql`update pulse set beats = beats + 1`.execute(db).catch(() => undefined)
    if (isThrough) note('beat')
  }
}
