import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { fatesOf } from '../../src/store/fates.js'
import { completedId, insertRecoveries } from '../../src/store/history.js'
import { joinTransaction } from '../../src/store/store.js'
import { markEnded } from '../../src/store/tasks.js'
import { GoldenStore } from '../support/golden.js'
import { addTask, nonceOf } from '../support/rows.js'

describe('fatesOf tells of a task that was ended in a transaction', () => {
  let on: GoldenStore
  beforeAll(async () => {
    on = await GoldenStore.create()
  })
  beforeEach(async () => {
    await on.clear()
    for (const id of ['a', 'b', 'c']) await addTask(on.db, 'p', id, { jobRef: `job ${id}` })
  })
  afterAll(() => on[Symbol.asyncDispose]())

  const fates = async (store: typeof on.store, ...ids: string[]) => {
    const found = await fatesOf(store, 'p', ids.map(nonceOf))
    return Object.fromEntries(ids.map((id) => [id, found.get(nonceOf(id))]))
  }

  it('whether that is open, has rolled back or has committed', async () => {
    await on.db
      .transaction()
      .execute((trx) => markEnded(joinTransaction(on.store, trx), 'p', nonceOf('c'), 1))
    await on.db.transaction().execute(async (trx) => {
      await markEnded(joinTransaction(on.store, trx), 'p', nonceOf('a'), 1)
      const found = await on.golden('fates-of', (store) => fates(store, 'a', 'b', 'c'))
      expect(found).toEqual({ a: 'open', b: 'rolled-back', c: 'committed' })
    })
    expect(await on.golden('fates-of-free', (store) => fates(store, 'a', 'b'))).toEqual({
      a: 'committed',
      b: 'rolled-back',
    })
  })

  it('whether others have it, or have had it', async () => {
    await addTask(on.db, 'p', 'claimed', { claim: { by: 'other', token: 'token', ms: 60_000 } })
    // Taken over after a rollback, and ended there since.
    await sql`delete from holdfast_tasks where id = 'a'`.execute(on.db)
    await sql`update holdfast_tasks set process_id = 'other' where id = 'b'`.execute(on.db)
    expect(await fates(on.store, 'a', 'b', 'claimed')).toEqual({ a: 'lost', b: 'lost', claimed: 'lost' })
  })

  it('whether its recovery found it ended', async () => {
    await sql`delete from holdfast_tasks where id in ('a', 'b')`.execute(on.db)
    const recovery = { taskId: 'p/a', queue: 'table', jobRef: null, newJobRef: null, fromProcess: 'p' }
    const rest = { byProcess: 'other', cause: 'crash', crashes: 0, orphanedForMs: 1 }
    await insertRecoveries(on.store, [
      { ...recovery, ...rest, id: completedId('p', nonceOf('a')), outcome: 'completed' },
      { ...recovery, ...rest, id: completedId('P', nonceOf('b')), outcome: 'completed' },
    ])
    const found = await on.golden('fates-of-gone', (store) => fates(store, 'a', 'b'))
    expect(found).toEqual({ a: 'committed', b: 'lost' })
  })
})
