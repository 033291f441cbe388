import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { fatesOf } from '../../src/store/fates.js'
import { insertRecoveries } from '../../src/store/history.js'
import { deleteTasks } from '../../src/store/tasks.js'
import { GoldenStore } from '../support/golden.js'
import { addProcess, addTask } from '../support/rows.js'

const task = (id: string, jobRef: string | null = `job ${id}`) => ({ id, queue: 'table', jobRef })

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

  const fates = async (store: typeof on.store, ...tasks: ReturnType<typeof task>[]) =>
    Object.fromEntries(await fatesOf(store, 'p', tasks))

  it('whether that is open, has rolled back or has committed', async () => {
    await addProcess(on.db, 'p')
    await deleteTasks(on.store, 'p', ['c'])
    await on.db.transaction().execute(async (trx) => {
      await sql`delete from holdfast_tasks where process_id = 'p' and id = 'a'`.execute(trx)
      const found = await on.golden('fates-of', (store) =>
        fates(store, task('a'), task('b'), task('c'), task('d', null)),
      )
      expect(found).toEqual({ a: 'open', b: 'rolled-back', c: 'committed', d: 'committed' })
    })
  })

  it('whether others have it now', async () => {
    await addProcess(on.db, 'p')
    await deleteTasks(on.store, 'p', ['a', 'b'])
    await addTask(on.db, 'other', 'x', { jobRef: 'job a' })
    await addTask(on.db, 'other', 'y', { jobRef: 'job b', queue: 'another queue' })
    await addTask(on.db, 'p', 'claimed', { claim: { by: 'other', token: 'token', ms: 60_000 } })
    const found = await fates(on.store, task('a'), task('b'), task('claimed', null))
    expect(found).toEqual({ a: 'lost', b: 'committed', claimed: 'lost' })
  })

  it('whether it was recovered, where its process is not alive', async () => {
    await addProcess(on.db, 'p', { state: 'dead' })
    await deleteTasks(on.store, 'p', ['a', 'b'])
    await insertRecoveries(on.store, [
      {
        ...{ id: 'r', taskId: 'p/a', queue: 'table', jobRef: 'job a', newJobRef: 'job a', fromProcess: 'p' },
        ...{ byProcess: 'other', cause: 'crash', crashes: 1, outcome: 'requeued', orphanedForMs: 1 },
      },
    ])
    const found = await on.golden('fates-of-dead', (store) => fates(store, task('a'), task('b'), task('c')))
    expect(found).toEqual({ a: 'lost', b: 'committed', c: 'rolled-back' })
    await sql`delete from holdfast_processes`.execute(on.db)
    expect(await fates(on.store, task('a'), task('b'))).toEqual({ a: 'lost', b: 'committed' })
  })
})
