import { onPostgres } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { countOtherQueues, registeredJobs, remainingTasks } from '../../src/store/orphans.js'
import { joinTransaction } from '../../src/store/store.js'
import {
  countTasks,
  deleteTasks,
  giveBackTask,
  hasTask,
  markEnded,
  removeEnded,
  settleInserts,
  touchTasks,
} from '../../src/store/tasks.js'
import { GoldenStore } from '../support/golden.js'
import { addProcess, addTask, nonceOf, taskIds } from '../support/rows.js'

const claim = { by: 'x', token: 'token', ms: 60_000 }

describe('tasks in flight in SQL', () => {
  let on: GoldenStore
  beforeAll(async () => {
    on = await GoldenStore.create()
  })
  beforeEach(async () => {
    await on.clear()
    for (const id of ['a', 'b', 'c']) await addTask(on.db, 'p', id, { jobRef: `job ${id}` })
    await addTask(on.db, 'p', 'claimed', { claim })
    await addTask(on.db, 'other', 'a')
  })
  afterAll(() => on[Symbol.asyncDispose]())

  const untouched = ['other/a', 'p/claimed']

  it('deleteTasks ends one task by one statement', async () => {
    const ended = await on.golden('delete-task', (store) => deleteTasks(store, 'p', [nonceOf('a')]))
    expect(ended).toEqual(new Set([nonceOf('a')]))
    expect(await taskIds(on.db)).toEqual(['other/a', 'p/b', 'p/c', 'p/claimed'])
  })

  it('deleteTasks refuses what is claimed, gone, another’s, or written otherwise', async () => {
    for (const id of ['claimed', 'gone', 'A']) {
      expect(await deleteTasks(on.store, 'p', [nonceOf(id)]), id).toEqual(new Set())
    }
    expect(await deleteTasks(on.store, 'P', [nonceOf('a')])).toEqual(new Set())
    expect(await taskIds(on.db)).toHaveLength(5)
  })

  it('deleteTasks ends many in primary-key order and answers which were its own', async () => {
    const nonces = ['c', 'claimed', 'a', 'gone', 'b'].map(nonceOf)
    const ended = await on.golden('delete-tasks', (store) => deleteTasks(store, 'p', nonces))
    expect(ended).toEqual(new Set(['a', 'b', 'c'].map(nonceOf)))
    expect(await taskIds(on.db)).toEqual(untouched)
    expect(await on.golden('delete-tasks-none', (store) => deleteTasks(store, 'p', nonces))).toEqual(
      new Set(),
    )
  })

  it('markEnded ends one in the caller’s transaction: the row says so, and its job is free', async () => {
    const mark = (store: typeof on.store, id: string) =>
      store.db
        .transaction()
        .execute(async (trx) => markEnded(joinTransaction(store, trx), 'p', nonceOf(id), 1))
    expect(await on.golden('mark-ended', (store) => mark(store, 'a'))).toBe(true)
    for (const id of ['a', 'claimed', 'gone']) expect(await mark(on.store, id), id).toBe(false)
    const { rows } = await sql`
      select id, ended, job_ref from holdfast_tasks where process_id = 'p' and id in ('a', 'b') order by id`.execute(
      on.db,
    )
    expect(rows).toEqual([
      { id: 'a', ended: 1, job_ref: null },
      { id: 'b', ended: null, job_ref: 'job b' },
    ])
    // Sent behind the rollback of its transaction.
    expect(await markEnded(on.store as never, 'p', nonceOf('b'), 1)).toBe(false)
    expect(await hasTask(on.store, 'p', nonceOf('b'))).toBe(true)
    expect(await hasTask(on.store, 'p', nonceOf('a'))).toBe(false)
    expect((await countTasks(on.store)).find(({ queue }) => queue === 'table')).toMatchObject({ tasks: 4 })
  })

  it('removeEnded deletes ended rows that nobody has locked, and answers those that somebody has', async () => {
    const nonces = ['a', 'b', 'c', 'gone'].map(nonceOf)
    await sql`update holdfast_tasks set ended = 1 where process_id = 'p' and id in ('a', 'b')`.execute(on.db)
    await on.db.transaction().execute(async (trx) => {
      await sql`select id from holdfast_tasks where process_id = 'p' and nonce = ${nonceOf('a')} for update`.execute(
        trx,
      )
      const left = await on.golden('remove-ended', (store) => removeEnded(store, 'p', nonces))
      expect(left).toEqual(new Set([nonceOf('a')]))
    })
    expect(await taskIds(on.db)).toEqual(['other/a', 'p/a', 'p/c', 'p/claimed'])
    const last = await on.golden('remove-ended-all', (store) => removeEnded(store, 'p', [nonceOf('a')]))
    expect(last).toEqual(new Set())
    expect(await taskIds(on.db)).toEqual(['other/a', 'p/c', 'p/claimed'])
  })

  it('settleInserts waits for no row that somebody has locked, and is not certain then', async () => {
    await addProcess(on.db, 'p')
    await on.db.transaction().execute(async (trx) => {
      await sql`select id from holdfast_tasks where process_id = 'p' and nonce = ${nonceOf('a')} for update`.execute(
        trx,
      )
      const nonces = ['a', 'b'].map(nonceOf)
      expect(await settleInserts(on.store, { processId: 'p', epoch: 1, nonces })).toBe(false)
    })
    expect(await taskIds(on.db)).toEqual(['other/a', 'p/a', 'p/c', 'p/claimed'])
  })

  it('settleInserts deletes what came through, and has what comes later refused', async () => {
    const settle = (store: typeof on.store, epoch: number) =>
      settleInserts(store, { processId: 'p', epoch, nonces: ['a', 'gone'].map(nonceOf) })
    expect(await settle(on.store, 1)).toBe(false)
    await addProcess(on.db, 'p')
    expect(await on.golden('settle-inserts', (store) => settle(store, 2))).toBe(true)
    expect(await taskIds(on.db)).toEqual(['other/a', 'p/b', 'p/c', 'p/claimed'])
    const epochOf = async () =>
      (await sql<{ epoch: unknown }>`select epoch from holdfast_processes`.execute(on.db)).rows[0]!.epoch
    expect(Number(await epochOf())).toBe(2)
    expect(await settle(on.store, 1)).toBe(true)
    expect(Number(await epochOf())).toBe(2)
    await on.db.transaction().execute(async (trx) => {
      // As an INSERT that is under way holds it.
      const lock = sql.raw(onPostgres() ? 'for key share' : 'lock in share mode')
      await sql`select state from holdfast_processes where process_id = 'p' ${lock}`.execute(trx)
      expect(await settle(on.store, 3)).toBe(false)
    })
    expect(Number(await epochOf())).toBe(2)
  })

  it('giveBackTask leaves the row to an owner that no process is', async () => {
    const plain = await on.golden('give-back-task', (store) =>
      giveBackTask(store, 'p', nonceOf('a'), 'release'),
    )
    const changed = await on.golden('give-back-task-with-payload', (store) =>
      giveBackTask(store, 'p', nonceOf('b'), 'overdue', '"new"'),
    )
    expect([plain, changed]).toEqual([true, true])
    expect(await giveBackTask(on.store, 'p', nonceOf('claimed'), 'release')).toBe(false)
    const { rows } = await sql`
      select process_id, id, payload from holdfast_tasks where process_id like '%:p' order by id`.execute(
      on.db,
    )
    expect(rows).toEqual([
      { process_id: 'released:p', id: 'a', payload: '"a"' },
      { process_id: 'overdue:p', id: 'b', payload: '"new"' },
    ])
  })

  it('touchTasks notes the progress of those that are still its own', async () => {
    const nonces = ['a', 'c', 'claimed', 'gone'].map(nonceOf)
    const touched = await on.golden('touch-tasks', (store) => touchTasks(store, 'p', nonces))
    expect(touched).toEqual(new Set(['a', 'c'].map(nonceOf)))
    const { rows } = await sql<{ id: string }>`
      select id from holdfast_tasks where progress_at > created_at order by id`.execute(on.db)
    expect(rows.map(({ id }) => id)).toEqual(['a', 'c'])
  })

  it('hasTask finds exactly what is in flight', async () => {
    expect(await on.golden('has-task', (store) => hasTask(store, 'p', nonceOf('a')))).toBe(true)
    expect(await on.golden('has-task-by-id', (store) => hasTask(store, 'p', 'a'))).toBe(true)
    for (const id of ['claimed', 'gone', 'A']) expect(await hasTask(on.store, 'p', id), id).toBe(false)
  })

  it('countTasks and countOtherQueues count by queue', async () => {
    await addTask(on.db, 'p', 'elsewhere', { queue: 'other' })
    await addTask(on.db, 'p', 'elsewhere too', { queue: 'other' })
    expect(await on.golden('count-tasks', countTasks)).toEqual([
      { queue: 'other', tasks: 2 },
      { queue: 'table', tasks: 5 },
    ])
    const others = await on.golden('count-other-queues', (store) =>
      countOtherQueues(store, 'p', ['table', 'x']),
    )
    expect(others).toEqual([{ queue: 'other', tasks: 2 }])
  })

  it('remainingTasks answers which tasks have a row, by both their ids', async () => {
    await addTask(on.db, 'left', 'a')
    await addTask(on.db, 'left', 'b')
    const asked = [
      ['left', 'a'],
      ['gone', 'a'],
      ['left', 'A'],
      ['left', 'b'],
    ].map(([processId, id]) => ({ fullId: `${processId}/${id}`, processId: processId!, nonce: nonceOf(id!) }))
    const found = await on.golden('remaining-tasks', (store) => remainingTasks(store, asked))
    expect(found).toEqual(new Set(['left/a', 'left/b']))
    expect(await remainingTasks(on.store, [])).toEqual(new Set())
  })

  it('registeredJobs answers which jobs have a row, whoever holds it', async () => {
    await addTask(on.db, 'other', 'd', { jobRef: 'job d' })
    const refs = ['job a', 'job d', 'JOB A', 'none']
    const found = await on.golden('registered-jobs', (store) => registeredJobs(store, 'table', refs))
    expect(found).toEqual(new Set(['job a', 'job d']))
    expect(await registeredJobs(on.store, 'TABLE', refs)).toEqual(new Set())
  })
})
