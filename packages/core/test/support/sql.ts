import { onPostgres } from '@holdfast/chaos'
import { type RawBuilder, sql } from 'kysely'
import { mysql } from '../../src/store/mysql.js'
import { postgres } from '../../src/store/postgres.js'

/** How the tests' own SQL speaks to the database of this run. */
export const dialect = onPostgres() ? postgres : mysql

/** The database's clock, `ms` ago. */
export const ago = (ms: number): RawBuilder<unknown> => sql`${dialect.after(-ms)}`

export const SECOND = 1_000
export const HOUR = 3_600_000
export const DAY = 24 * HOUR
