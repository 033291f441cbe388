import { type AnyDatabase, connect, freshDatabase, type TestDatabase, until } from '@holdfast/chaos'
import { sql, type Transaction } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type HoldfastError, migrate, TaskMonitor } from '../src/index.js'
import { fast } from './support/fast.js'
import { dialect } from './support/sql.js'
import { createTableQueue, tableQueueAdapter, taskRows } from './support/table-queue.js'

const undone = new Error('undone')

describe('a task that is completed in a transaction of its work’s', () => {
  let database: TestDatabase
  let db: AnyDatabase
  let monitor: TaskMonitor
  let errors: HoldfastError[]

  beforeEach(async () => {
    database = await freshDatabase()
    ;({ db } = database)
    await migrate(db)
    await createTableQueue(db)
    await sql`create table effects (n int)`.execute(db)
    monitor = await started()
    errors = []
    monitor.on('error', (error) => errors.push(error))
  })
  afterEach(async () => {
    await monitor.stop({ drain: 0 })
    await database[Symbol.asyncDispose]()
  })

  async function started(): Promise<TaskMonitor> {
    const one = new TaskMonitor({ db, adapters: [tableQueueAdapter()], ...fast })
    await one.start()
    return one
  }

  const inTransaction = (work: (trx: Transaction<unknown>) => Promise<unknown>): Promise<unknown> =>
    db.transaction().execute(async (trx) => {
      await sql`insert into effects values (1)`.execute(trx)
      return work(trx as never)
    })

  const effects = async (): Promise<number> =>
    Number((await sql<{ n: number }>`select count(*) as n from effects`.execute(db)).rows[0]!.n)

  /** Nothing of it is left: no row, and nothing that a stop would wait for. */
  async function expectNothingLeft(): Promise<void> {
    expect(await taskRows(db)).toEqual([])
    expect(monitor.health()).toMatchObject({ inFlight: 0, unsettled: 0 })
  }

  it('has failed when that rolls back and the work throws', async () => {
    const work = monitor.run({ payload: null, jobRef: 'a' }, (task) =>
      inTransaction(async (trx) => {
        await task.complete({ trx })
        throw undone
      }),
    )
    await expect(work).rejects.toBe(undone)
    expect(await effects()).toBe(0)
    await expectNothingLeft()
  })

  it('has ended when that rolls back and the work returns all the same', async () => {
    const work = monitor.run({ payload: null, jobRef: 'a' }, async (task) => {
      await inTransaction(async (trx) => {
        await task.complete({ trx })
        throw undone
      }).catch((error) => expect(error).toBe(undone))
      return 'swallowed'
    })
    expect(await work).toBe('swallowed')
    await expectNothingLeft()
  })

  it.each(['returns', 'throws'])('has ended when that commits and the work %s', async (end) => {
    const work = monitor.run({ payload: null, jobRef: 'a' }, async (task) => {
      await inTransaction((trx) => task.complete({ trx }))
      if (end === 'throws') throw undone
    })
    await (end === 'throws' ? expect(work).rejects.toBe(undone) : work)
    expect(await effects()).toBe(1)
    await expectNothingLeft()
  })

  it('may be completed again after a rollback, in another transaction or in none', async () => {
    for (const again of ['another', 'none']) {
      await monitor.run({ payload: null, jobRef: again }, async (task) => {
        const first = inTransaction(async (trx) => {
          await task.complete({ trx })
          throw undone
        })
        await expect(first).rejects.toBe(undone)
        if (again === 'none') await task.complete()
        else await inTransaction((trx) => task.complete({ trx }))
      })
      await expectNothingLeft()
    }
    expect(await effects()).toBe(1)
  })

  it('completed twice in one transaction that rolls back, has failed like any other', async () => {
    const work = monitor.run({ payload: null, jobRef: 'a' }, (task) =>
      inTransaction(async (trx) => {
        await task.complete({ trx })
        await task.complete({ trx })
      }),
    )
    await expect(work).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
    expect(await effects()).toBe(0)
    await expectNothingLeft()
  })

  it.each(['commits', 'rolls back'])(
    'is waited for when the work ends before the transaction, which then %s',
    async (end) => {
      let finish!: () => void
      const finished = new Promise<void>((resolve) => {
        finish = resolve
      })
      let open: Promise<unknown> | undefined
      let completed = false
      let settled: string | undefined
      const work = monitor
        .run({ payload: null, jobRef: 'a' }, async (task) => {
          open = inTransaction(async (trx) => {
            await task.complete({ trx })
            completed = true
            await finished
            if (end === 'rolls back') throw undone
          })
          await until(() => completed)
          throw new Error('left early')
        })
        .catch((error: Error) => {
          settled = error.message
        })
      await until(() => errors.length > 0, { what: 'it is said that the transaction is open still' })
      expect(errors[0]!.message).toContain('is open still since its handler ended')
      expect(errors).toHaveLength(1)
      expect(settled).toBeUndefined()
      expect(await taskRows(db)).toHaveLength(1)
      finish()
      await Promise.allSettled([open, work])
      expect(settled).toBe('left early')
      expect(await effects()).toBe(end === 'commits' ? 1 : 0)
      await expectNothingLeft()
    },
  )

  it('is settled by what the server did when the connection is lost with the transaction', async () => {
    await using other = connect(database.url, 1)
    const work = monitor.run({ payload: null, jobRef: 'a' }, async (task) => {
      await other.connection().execute(async (connection) => {
        const { rows } = await sql<{ id: number }>`
          select ${sql.raw(dialect.name === 'postgres' ? 'pg_backend_pid()' : 'connection_id()')} as id`.execute(
          connection,
        )
        await connection.transaction().execute(async (trx) => {
          await task.complete({ trx: trx as never })
          const kill =
            dialect.name === 'postgres'
              ? sql`select pg_terminate_backend(${rows[0]!.id})`
              : sql`kill ${sql.lit(Number(rows[0]!.id))}`
          await kill.execute(db)
          await sql`insert into effects values (1)`.execute(trx)
        })
      })
    })
    await expect(work).rejects.toThrow()
    await expectNothingLeft()
  })

  it('is lost, whatever the work returns, when it rolled back and another has the job now', async () => {
    const other = await started()
    const work = monitor.run({ payload: null, jobRef: 'a' }, async (task) => {
      await inTransaction(async (trx) => {
        await task.complete({ trx })
        throw undone
      }).catch((error) => expect(error).toBe(undone))
      await other.register({ payload: null, jobRef: 'a' })
    })
    await expect(work).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
    expect(await taskRows(db)).toMatchObject([{ process_id: other.processId }])
    await other.stop({ drain: 0 })
  })

  it('is lost when its process was declared dead before anyone could ask', async () => {
    const evicted = until(() => monitor.health().events.evicted)
    const work = monitor.run({ payload: null, jobRef: 'a' }, async (task) => {
      await inTransaction(async (trx) => {
        await task.complete({ trx })
        throw undone
      }).catch((error) => expect(error).toBe(undone))
      // As a sweep does that fences the process and recovers what it held.
      await sql`update holdfast_processes set state = 'dead'`.execute(db)
      await sql`delete from holdfast_tasks`.execute(db)
    })
    await expect(work).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
    await evicted
  })

  it('settles for an adapter as open, ended or lost', async () => {
    const register = (jobRef: string) => monitor.register({ payload: null, jobRef })
    const [untouched, completed, released, undoneOne, committed] = await Promise.all(
      ['a', 'b', 'c', 'd', 'e'].map(register),
    )
    await completed!.complete()
    await released!.release()
    await inTransaction((trx) => undoneOne!.complete({ trx }).then(() => Promise.reject(undone))).catch(
      () => {
        expect(undoneOne!.open).toBe(false)
      },
    )
    await inTransaction((trx) => committed!.complete({ trx }))
    const settled = [untouched, completed, released, undoneOne, committed].map((task) =>
      monitor.settle(task!),
    )
    expect(await Promise.all(settled)).toEqual(['open', 'ended', 'ended', 'open', 'ended'])
    expect(undoneOne!.open).toBe(true)
    await monitor.stop({ drain: 0 })
    expect(await monitor.settle(untouched!)).toBe('lost')
  })
})
