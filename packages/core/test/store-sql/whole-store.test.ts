import { onPostgres } from '@holdfast/chaos'
import { type Kysely, sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SchemaVersionError } from '../../src/errors.js'
import { checkSchema } from '../../src/migrations/check-schema.js'
import { clearTables } from '../../src/store/clear.js'
import { inTransaction, openStore } from '../../src/store/store.js'
import { GoldenStore } from '../support/golden.js'
import { addProcess, addTask, stateOf, taskIds } from '../support/rows.js'

describe('the store in SQL', () => {
  let on: GoldenStore
  beforeAll(async () => {
    on = await GoldenStore.create()
  })
  afterAll(() => on[Symbol.asyncDispose]())

  it('checkSchema finds the tables and the rights, and what is missing', async () => {
    expect(await on.golden('check-schema', checkSchema)).toBeUndefined()
    const elsewhere = openStore(on.db, { tablePrefix: 'none_' })
    await expect(checkSchema(elsewhere)).rejects.toThrow(SchemaVersionError)
  })

  it('clearTables empties every table but that of the migrations', async () => {
    await addProcess(on.db, 'p')
    await addTask(on.db, 'p', 'a')
    await on.golden('clear', clearTables)
    expect(await taskIds(on.db)).toEqual([])
    expect(await stateOf(on.db, 'p')).toBeUndefined()
    await checkSchema(on.store)
  })

  it('maxPayloadBytes leaves room for what the driver escapes', async () => {
    const most = await on.golden('max-payload-bytes', ({ dialect, db }) => dialect.maxPayloadBytes(db))
    if (onPostgres()) {
      expect(most).toBe(Number.POSITIVE_INFINITY)
      return
    }
    const { rows } = await sql<{ max: number }>`select @@max_allowed_packet as max`.execute(on.db)
    expect(most).toBeLessThanOrEqual(Number(rows[0]!.max) / 2)
  })

  it('what it bounds holds for its work alone', async () => {
    const silence = async (db: Kysely<unknown>) => {
      const setting = onPostgres()
        ? sql`current_setting('idle_in_transaction_session_timeout')`
        : sql`@@session.wait_timeout`
      const { rows } = await sql<{ ms: unknown }>`select ${setting} as ms`.execute(db)
      return String(rows[0]!.ms)
    }
    const [during, after] = await on.golden('limit-silence', (store) =>
      store.db.connection().execute(async (db) => {
        const within = await inTransaction({ ...store, db }, (inner) =>
          inner.dialect.bounded(inner.db, { silence: 1_500 }, () => silence(inner.db)),
        )
        return [within, await silence(db)]
      }),
    )
    expect(during).toBe(onPostgres() ? '1500ms' : '2')
    expect(after).toBe(onPostgres() ? '0' : '28800')
  })

  it('a transaction that fails for want of a lock is tried again, others are not', async () => {
    const errors = onPostgres() ? [{ code: '40P01' }, { code: '23505' }] : [{ errno: 1213 }, { errno: 1062 }]
    const left = [...errors]
    const work = on.golden('in-transaction', (store) =>
      inTransaction(store, async ({ db }) => {
        await sql`select 1 as one`.execute(db)
        throw left.shift()
      }).catch((error) => error),
    )
    expect(await work).toBe(errors[1])
    expect(left).toEqual([])
  })
})
