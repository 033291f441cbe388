import type { AnyDatabase } from '@holdfast/chaos'
import { type RawBuilder, sql } from 'kysely'

/** A time of the database in milliseconds, so that all times that are compared come from one clock. */
export const ms = (time: RawBuilder<unknown>): RawBuilder<number> =>
  sql<number>`(extract(epoch from ${time}) * 1000)::float8`

export async function databaseNow(db: AnyDatabase): Promise<number> {
  const { rows } = await sql<{ now: number }>`select ${ms(sql`clock_timestamp()`)} as now`.execute(db)
  return rows[0]!.now
}
