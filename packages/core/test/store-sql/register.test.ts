import { patience } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { insertTasks } from '../../src/store/insert-tasks.js'
import type { Inserted, NewTask, TaskInsertion } from '../../src/store/new-tasks.js'
import { joinTransaction, type Store } from '../../src/store/store.js'
import { markEnded } from '../../src/store/tasks.js'
import { GoldenStore } from '../support/golden.js'
import { addProcess, addTask, nonceOf, taskIds } from '../support/rows.js'
import { dialect, HOUR } from '../support/sql.js'

describe('registering tasks in SQL', () => {
  let on: GoldenStore
  beforeAll(async () => {
    on = await GoldenStore.create()
  })
  beforeEach(async () => {
    await on.clear()
    await addProcess(on.db, 'p')
  })
  afterAll(() => on[Symbol.asyncDispose]())

  const task = (id: string, jobRef: string | null = null, attempt = 0): NewTask => ({
    ...{ nonce: nonceOf(id), id, queue: 'table', jobRef, attempt, payload: `{"of":"${id}"}`, onCrash: null },
  })
  const insertion = (tasks: readonly NewTask[], suspectFrom = Number.POSITIVE_INFINITY): TaskInsertion => ({
    ...{ processId: 'p', epoch: 0, tasks, suspectFrom, crashWindow: HOUR },
  })
  const addCrashes = (jobRef: string, count: number, msAgo = 0) =>
    sql`insert into holdfast_crashes (queue, job_ref, count, last_crash_at)
      values ('table', ${jobRef}, ${count}, ${dialect.after(-msAgo)})`.execute(on.db)
  /** Registers tasks; what is answered, in their order. */
  const insert =
    (tasks: TaskInsertion) =>
    async (store: Store): Promise<readonly Inserted[]> => {
      const answers = await insertTasks(store, tasks)
      return tasks.tasks.map(({ nonce }) => answers.get(nonce)!)
    }

  it('a lone task is written with all its columns', async () => {
    const lone = { ...task('a', 'job'), onCrash: 'quarantine' }
    expect(await on.golden('insert-task-lone', insert(insertion([lone])))).toEqual(['written'])
    const { rows } = await sql<{ nonce: unknown }>`
      select process_id, nonce, id, queue, job_ref, payload, on_crash, ended, attempts, progress_at, claimed_by, claim_token,
        claim_expires_at, retry_at, last_error, crashes from holdfast_tasks`.execute(on.db)
    const nothing = {
      ended: null,
      progress_at: null,
      claimed_by: null,
      claim_token: null,
      claim_expires_at: null,
    }
    expect(rows.map((row) => ({ ...row, nonce: Number(row.nonce) }))).toEqual([
      {
        ...{
          process_id: 'p',
          nonce: nonceOf('a'),
          id: 'a',
          queue: 'table',
          job_ref: 'job',
          payload: '{"of":"a"}',
          attempts: 0,
        },
        ...{ on_crash: 'quarantine', retry_at: null, last_error: null, crashes: null, ...nothing },
      },
    ])
    const { rows: ages } = await sql<{ age: number }>`
      select ${dialect.msSince(sql.ref('created_at'))} as age from holdfast_tasks`.execute(on.db)
    expect(Math.abs(Number(ages[0]!.age))).toBeLessThan(10_000)
  })

  it('a batch is one statement', async () => {
    const batch = insertion([task('a'), task('b', 'job-b'), task('c')])
    expect(await on.golden('insert-tasks-batch', insert(batch))).toEqual(['written', 'written', 'written'])
    expect(await taskIds(on.db)).toEqual(['p/a', 'p/b', 'p/c'])
  })

  it('a lone suspect is not written', async () => {
    await addCrashes('killer', 2)
    const lone = insertion([task('a', 'killer')], 2)
    expect(await on.golden('insert-task-suspect', insert(lone))).toEqual(['suspect'])
    expect(await taskIds(on.db)).toEqual([])
  })

  it('of a batch all but the suspects are written', async () => {
    await addCrashes('killer', 2)
    await addCrashes('once', 1)
    await addCrashes('long ago', 2, 2 * HOUR)
    const batch = insertion([task('a', 'killer'), task('b', 'once'), task('c', 'long ago'), task('d')], 2)
    const result = await on.golden('insert-tasks-suspects', insert(batch))
    expect(result).toEqual(['suspect', 'written', 'written', 'written'])
    expect(await taskIds(on.db)).toEqual(['p/b', 'p/c', 'p/d'])
  })

  it('an isolated suspect is written whatever its crash count', async () => {
    await addCrashes('killer', 2)
    const isolated = insertion([task('a', 'killer')])
    expect(await on.golden('insert-task-isolated', insert(isolated))).toEqual(['written'])
    expect(await taskIds(on.db)).toEqual(['p/a'])
  })

  it('a process that is not alive writes nothing, be it one task or several', async () => {
    await sql`update holdfast_processes set state = 'dead'`.execute(on.db)
    const [one, two] = [insertion([task('a')]), insertion([task('a'), task('b', 'job')])]
    expect(await on.golden('insert-task-not-alive', insert(one))).toEqual(['dead'])
    expect(await on.golden('insert-tasks-not-alive', insert(two))).toEqual(['dead', 'dead'])
    await sql`delete from holdfast_processes`.execute(on.db)
    expect(await insert(one)(on.store)).toEqual(['dead'])
    expect(await taskIds(on.db)).toEqual([])
  })

  it('one that names an epoch before its process’s is refused, be it one task or several', async () => {
    await sql`update holdfast_processes set epoch = 5`.execute(on.db)
    const late = (epoch: number, ...ids: string[]) => ({
      ...insertion(ids.map((id) => task(id))),
      epoch,
    })
    await insertTasks(on.store, late(4, 'a'))
    await insertTasks(on.store, late(4, 'a', 'b'))
    expect(await taskIds(on.db)).toEqual([])
    await insertTasks(on.store, late(5, 'a'))
    await insertTasks(on.store, late(6, 'b', 'c'))
    expect(await taskIds(on.db)).toEqual(['p/a', 'p/b', 'p/c'])
  })

  it('a job that another process holds is taken over, and its row forgets the other', async () => {
    const claim = { by: 'x', token: 'token', ms: 1_000 }
    await addTask(on.db, 'other', 'theirs', { jobRef: 'job', claim, retryMs: HOUR })
    await addTask(on.db, 'other', 'theirs too', { jobRef: 'job 2', claim, retryMs: HOUR })
    await sql`update holdfast_tasks set attempts = 4, last_error = 'e', crashes = 2, progress_at = created_at`.execute(
      on.db,
    )
    const lone = insertion([task('ours', 'job')])
    expect(await on.golden('insert-task-take-over', insert(lone))).toEqual(['written'])
    const batch = insertion([task('ours too', 'job 2'), task('new')])
    expect(await on.golden('insert-tasks-take-over', insert(batch))).toEqual(['written', 'written'])
    expect(await taskIds(on.db)).toEqual(['p/new', 'p/ours', 'p/ours too'])
    const { rows } = await sql`
      select distinct ended, attempts, progress_at, claimed_by, claim_token, claim_expires_at, retry_at, last_error, crashes
      from holdfast_tasks`.execute(on.db)
    const nothing = {
      ended: null,
      progress_at: null,
      claimed_by: null,
      claim_token: null,
      claim_expires_at: null,
    }
    expect(rows).toEqual([{ attempts: 0, retry_at: null, last_error: null, crashes: null, ...nothing }])
  })

  it('a job that another process holds is taken over by a newer attempt only', async () => {
    const rows: Record<string, number> = { older: 4, same: 5, newer: 6, unsaid: 0 }
    for (const [job, attempt] of Object.entries(rows)) {
      await addTask(on.db, 'other', job, { jobRef: job })
      await sql`update holdfast_tasks set job_attempt = ${attempt} where id = ${job}`.execute(on.db)
    }
    await insert(insertion([task('own', 'own', 9)]))(on.store)
    const batch = (attempt: number) =>
      insertion([...Object.keys(rows), 'own', 'none'].map((job) => task(`${job} ${attempt}`, job, attempt)))
    const fifth = ['written', 'taken', 'taken', 'written', 'taken', 'written']
    expect(await insert(batch(5))(on.store)).toEqual(fifth)
    expect(await taskIds(on.db)).toEqual([
      ...['other/newer', 'other/same', 'p/none 5', 'p/older 5', 'p/own', 'p/unsaid 5'],
    ])
    await addProcess(on.db, 'q')
    const ofQ = { ...insertion([task('unsaid', 'unsaid'), task('none', 'none', 5)]), processId: 'q' }
    expect(await insert(ofQ)(on.store)).toEqual(['taken', 'taken'])
  })

  it('a job whose row somebody has locked is left alone, and waited for by no other job nor by the process’s row', async () => {
    await addTask(on.db, 'other', 'theirs', { jobRef: 'job' })
    await using holder = await on.open()
    await markEnded(joinTransaction(on.store, holder.trx as never), 'other', nonceOf('theirs'), 1)
    const begun = performance.now()
    const batch = insertion([task('ours', 'job'), task('new', 'other job'), task('no job')])
    expect(await insert(batch)(on.store)).toEqual(['busy', 'written', 'written'])
    expect(await insert(insertion([task('ours', 'job')]))(on.store)).toEqual(['busy'])
    expect(performance.now() - begun).toBeLessThan(patience(5_000))
    await holder.commit()
    expect(await insert(insertion([task('ours', 'job')]))(on.store)).toEqual(['written'])
    expect(await taskIds(on.db)).toEqual(['other/theirs', 'p/new', 'p/no job', 'p/ours'])
  })

  it('names that differ in case, accent, width or composition are different', async () => {
    const names = ['a', 'A', 'ä', 'a\u0308', ' a', 'ｱ', 'ア']
    await insertTasks(on.store, insertion(names.map((name) => task(name, name))))
    expect((await taskIds(on.db)).toSorted()).toEqual(names.map((name) => `p/${name}`).toSorted())
    await addProcess(on.db, 'P')
    await insertTasks(on.store, { ...insertion([task('a')]), processId: 'P' })
    await insertTasks(on.store, insertion([{ ...task('of another queue', 'a'), queue: 'TABLE' }]))
    expect(await taskIds(on.db)).toHaveLength(names.length + 2)
    for (const name of names) await addCrashes(name, 1)
  })
})
