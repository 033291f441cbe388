import { onPostgres, until } from '@holdfast/chaos'
import { sql, type Transaction } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TaskHandle, TaskMonitor } from '../src/index.js'
import { fast } from './support/fast.js'
import { Fixture } from './support/fixture.js'
import { enqueuedRefs, taskRows } from './support/table-queue.js'

const undone = new Error('undone')

/** Nobody asks by itself: there is no heartbeat for a long time. */
const quiet = { ...fast, heartbeatInterval: 20_000, orphanThreshold: 60_000, gcLockTtl: 60_000 }

describe('a task that was completed in a transaction, asked about late', () => {
  let fixture: Fixture
  let monitor: TaskMonitor
  let task: TaskHandle
  const completed: string[] = []
  beforeEach(async () => {
    fixture = await Fixture.create()
    monitor = fixture.monitor(quiet)
    await monitor.pingProcess()
    completed.length = 0
    monitor.on('completed', ({ taskId }) => completed.push(taskId))
    task = await monitor.register({ payload: null, jobRef: 'a' })
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const complete = (end?: Error): Promise<unknown> =>
    fixture.db
      .transaction()
      .execute(async (trx) => {
        await task.complete({ trx })
        if (end !== undefined) throw end
      })
      .catch((error) => expect(error).toBe(undone))

  /** As a sweep finds it that takes the process for dead. */
  const fence = () =>
    sql`update holdfast_processes set state = 'dead' where process_id = ${monitor.processId}`.execute(
      fixture.db,
    )

  it('leaves its row, which says so, and its job to whoever has it next', async () => {
    await complete()
    const { rows } = await sql`select id, job_ref, ended from holdfast_tasks`.execute(fixture.db)
    expect(rows).toEqual([{ id: task.id, job_ref: null, ended: 1 }])
    const next = await monitor.register({ payload: null, jobRef: 'a' })
    expect(await monitor.settle(task)).toBe('completed')
    expect(await taskRows(fixture.db)).toMatchObject([{ id: next.id, job_ref: 'a' }])
    await next.complete()
  })

  it('is told as completed when it is, not before', async () => {
    await complete(undone)
    expect(await monitor.settle(task)).toBe('open')
    expect(completed).toEqual([])
    await fixture.db.transaction().execute(async (trx) => {
      await task.complete({ trx })
      expect(task.open).toBe(true)
      expect(monitor.health()).toMatchObject({ inFlight: 0, undecided: 1 })
    })
    expect(completed).toEqual([])
    expect(await monitor.settle(task)).toBe('completed')
    expect(completed).toEqual([task.fullId])
    expect(task.open).toBe(false)
    expect(monitor.health()).toMatchObject({ inFlight: 0, undecided: 0, unsettled: 0 })
  })

  it('has ended when it committed, though its process was recovered before anyone asked', async () => {
    await complete()
    await fence()
    const other = await fixture.started()
    await until(async () => (await taskRows(fixture.db)).length === 0)
    expect(await monitor.settle(task)).toBe('completed')
    expect(await enqueuedRefs(fixture.db)).toEqual([])
    expect(other.health().events.recovered).toBeUndefined()
    const { rows } = await sql`select outcome, job_ref from holdfast_recoveries`.execute(fixture.db)
    expect(rows).toEqual([{ outcome: 'completed', job_ref: null }])
  })

  it('is lost when it rolled back and its process was recovered before anyone asked', async () => {
    await complete(undone)
    await fence()
    await fixture.started()
    await until(async () => (await taskRows(fixture.db)).length === 0)
    expect(await monitor.settle(task)).toBe('lost')
    expect(await enqueuedRefs(fixture.db)).toEqual(['a'])
    expect(completed).toEqual([])
  })

  it('is lost when it rolled back and another took its job over and ended it before anyone asked', async () => {
    await complete(undone)
    const other = await fixture.started()
    await (await other.register({ payload: null, jobRef: 'a' })).complete()
    expect(await monitor.settle(task)).toBe('lost')
    expect(completed).toEqual([])
  })

  it.each(['commits', 'rolls back'])(
    'is left to its transaction by those who recover its process, until that %s',
    async (end) => {
      let other: TaskMonitor | undefined
      await fixture.db
        .transaction()
        .execute(async (trx) => {
          await task.complete({ trx })
          await fence()
          other = await fixture.started()
          const sweeps = () => other!.health().events.sweep ?? 0
          const before = sweeps()
          await until(() => sweeps() > before + 1, { what: 'two sweeps' })
          expect(await taskRows(fixture.db)).toHaveLength(1)
          if (end === 'rolls back') throw undone
        })
        .catch((error) => expect(error).toBe(undone))
      await until(async () => (await taskRows(fixture.db)).length === 0)
      expect(await monitor.settle(task)).toBe(end === 'commits' ? 'completed' : 'lost')
      expect(await enqueuedRefs(fixture.db)).toEqual(end === 'commits' ? [] : ['a'])
    },
  )

  it('is refused to a second transaction while the first is open, and to one after it has committed', async () => {
    const [first, second] = await Promise.all([fixture.db, fixture.db].map(() => begun()))
    await task.complete({ trx: first!.trx })
    const again = task.complete({ trx: second!.trx }).catch((error: unknown) => error)
    await first!.commit()
    expect(await again).toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
    await second!.rollBack()
    expect(await monitor.settle(task)).toBe('completed')
  })

  it('is refused to a second transaction a lease later, when the first is open still', async () => {
    const impatient = await fixture.started()
    const other = await impatient.register({ payload: null, jobRef: 'b' })
    const [first, second] = await Promise.all([fixture.db, fixture.db].map(() => begun()))
    await other.complete({ trx: first!.trx })
    await expect(other.complete({ trx: second!.trx })).rejects.toMatchObject({
      code: 'HOLDFAST_CONFIG',
      message: expect.stringContaining('commit or roll back before you end it'),
    })
    await second!.rollBack()
    await first!.commit()
    expect(await impatient.settle(other)).toBe('completed')
  })

  it('is the second transaction’s when the first rolls back', async () => {
    const [first, second] = await Promise.all([fixture.db, fixture.db].map(() => begun()))
    await task.complete({ trx: first!.trx })
    const again = task.complete({ trx: second!.trx })
    await first!.rollBack()
    await again
    expect(task.open).toBe(true)
    await second!.commit()
    expect(await monitor.settle(task)).toBe('completed')
  })

  it('has ended for good once that is known, while a second transaction asks for it', async () => {
    await complete()
    const [holder, second] = await Promise.all([begun(), begun()])
    await sql`select id from holdfast_tasks where id = ${task.id} for update`.execute(holder.trx)
    const again = task.complete({ trx: second.trx }).catch((error: unknown) => error)
    await until(async () => {
      await monitor.pingProcess()
      return !task.open
    })
    await holder.commit()
    expect(await again).toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
    await second.rollBack()
    expect([task.open, await monitor.settle(task)]).toEqual([false, 'completed'])
    expect(completed).toEqual([task.fullId])
  })

  it('waits for nothing that waits for it, when its time is over in the middle of its transaction', async () => {
    const timed = monitor.run(
      { payload: null, jobRef: 'timed', maxRuntime: 100, onOverdue: 'recover' },
      (own) =>
        fixture.db.transaction().execute(async (trx) => {
          await own.complete({ trx })
          await until(() => own.signal.aborted)
          await own.complete({ trx })
        }),
    )
    await timed
    expect(await enqueuedRefs(fixture.db)).toEqual([])
  })

  it('keeps no other’s progress from being noted', async () => {
    const other = await monitor.register({ payload: null, jobRef: 'b' })
    await fixture.db.transaction().execute(async (trx) => {
      const noting = monitor.updateHeartbeats([task, other])
      await task.complete({ trx })
      expect(await monitor.updateHeartbeats([task, other])).toBe(1)
      await other.complete()
      await noting
    })
    expect(await monitor.settle(task)).toBe('completed')
  })

  it('is in flight when a savepoint rolls back that it was completed in, though the rest commits', async () => {
    await fixture.db.transaction().execute(async (trx) => {
      await sql`savepoint here`.execute(trx)
      await task.complete({ trx })
      await sql`rollback to savepoint here`.execute(trx)
    })
    expect(await monitor.settle(task)).toBe('open')
    await complete()
    expect(await monitor.settle(task)).toBe('completed')
  })

  it.runIf(onPostgres())('is told to be newer than a snapshot, not lost, and ended by others', async () => {
    const work = fixture.db
      .transaction()
      .setIsolationLevel('repeatable read')
      .execute(async (trx) => {
        await sql`select count(*) from jobs`.execute(trx)
        const younger = await monitor.register({ payload: null, jobRef: 'b' })
        await expect(younger.complete({ trx })).rejects.toThrow('snapshot is older than the task')
        return younger
      })
    const younger = await work
    expect(await monitor.settle(younger)).toBe('open')
    await younger.complete()
  })

  /** A transaction that the test ends when it likes. */
  async function begun() {
    let end!: (how: 'commit' | 'rollBack') => void
    const ending = new Promise<'commit' | 'rollBack'>((resolve) => {
      end = resolve
    })
    let done!: Promise<unknown>
    const trx = await new Promise<Transaction<unknown>>((resolve) => {
      done = fixture.db
        .transaction()
        .execute(async (begunOne) => {
          resolve(begunOne)
          if ((await ending) === 'rollBack') throw undone
        })
        .catch((error) => expect(error).toBe(undone))
    })
    const finish = (how: 'commit' | 'rollBack') => () => {
      end(how)
      return done
    }
    return { trx, commit: finish('commit'), rollBack: finish('rollBack') }
  }
})
