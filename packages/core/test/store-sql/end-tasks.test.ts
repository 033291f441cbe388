import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { joinTransaction } from '../../src/store/store.js'
import {
  countOtherQueues,
  countTasks,
  deleteTasks,
  giveBackTask,
  hasTask,
  registeredJobs,
  remainingTasks,
  touchTasks,
} from '../../src/store/tasks.js'
import { GoldenStore } from '../support/golden.js'
import { addTask, taskIds } from '../support/rows.js'

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
    const ended = await on.golden('delete-task', (store) => deleteTasks(store, 'p', ['a']))
    expect(ended).toEqual(new Set(['a']))
    expect(await taskIds(on.db)).toEqual(['other/a', 'p/b', 'p/c', 'p/claimed'])
  })

  it('deleteTasks refuses what is claimed, gone, another’s, or written otherwise', async () => {
    for (const id of ['claimed', 'gone', 'A']) {
      expect(await deleteTasks(on.store, 'p', [id]), id).toEqual(new Set())
    }
    expect(await deleteTasks(on.store, 'P', ['a'])).toEqual(new Set())
    expect(await taskIds(on.db)).toHaveLength(5)
  })

  it('deleteTasks ends many in primary-key order and answers which were its own', async () => {
    const ids = ['c', 'claimed', 'a', 'gone', 'b']
    const ended = await on.golden('delete-tasks', (store) => deleteTasks(store, 'p', ids))
    expect(ended).toEqual(new Set(['a', 'b', 'c']))
    expect(await taskIds(on.db)).toEqual(untouched)
    expect(await on.golden('delete-tasks-none', (store) => deleteTasks(store, 'p', ids))).toEqual(new Set())
  })

  it('deleteTasks in a transaction of the caller’s ends with it', async () => {
    const rollBack = new Error('roll back')
    const work = on.golden('delete-task-in-transaction', (store) =>
      store.db
        .transaction()
        .execute(async (trx) => {
          expect(await deleteTasks(joinTransaction(store, trx), 'p', ['a'])).toEqual(new Set(['a']))
          throw rollBack
        })
        .catch((error) => expect(error).toBe(rollBack)),
    )
    await work
    expect(await taskIds(on.db)).toHaveLength(5)
  })

  it('giveBackTask leaves the row to an owner that no process is', async () => {
    const plain = await on.golden('give-back-task', (store) => giveBackTask(store, 'p', 'a', 'release'))
    const changed = await on.golden('give-back-task-with-payload', (store) =>
      giveBackTask(store, 'p', 'b', 'overdue', '"new"'),
    )
    expect([plain, changed]).toEqual([true, true])
    expect(await giveBackTask(on.store, 'p', 'claimed', 'release')).toBe(false)
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
    const ids = ['a', 'c', 'claimed', 'gone']
    const touched = await on.golden('touch-tasks', (store) => touchTasks(store, 'p', ids))
    expect(touched).toEqual(new Set(['a', 'c']))
    const { rows } = await sql<{ id: string }>`
      select id from holdfast_tasks where progress_at > created_at order by id`.execute(on.db)
    expect(rows.map(({ id }) => id)).toEqual(['a', 'c'])
  })

  it('hasTask finds exactly what is in flight', async () => {
    expect(await on.golden('has-task', (store) => hasTask(store, 'p', 'a'))).toBe(true)
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
      { processId: 'left', taskId: 'a' },
      { processId: 'gone', taskId: 'a' },
      { processId: 'left', taskId: 'A' },
      { processId: 'left', taskId: 'b' },
    ]
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
