import { type AnyDatabase, connect, freshDatabase, type TestDatabase, until } from '@holdfast/chaos'
import { sql, type Transaction } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ConfigError, type HoldfastError, migrate, type TaskHandle, TaskMonitor } from '../src/index.js'
import { fast } from './support/fast.js'
import { dialect } from './support/sql.js'
import { createTableQueue, enqueuedRefs, tableQueueAdapter, taskRows } from './support/table-queue.js'

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

  it('that has committed, is refused to any other transaction', async () => {
    const task = await monitor.register({ payload: null, jobRef: 'a' })
    await inTransaction((trx) => task.complete({ trx }))
    // As one would whose commit has lost its answer.
    const again = inTransaction((trx) => task.complete({ trx }))
    await expect(again).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
    await expect(task.complete()).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
    expect(await effects()).toBe(1)
    await until(async () => (await taskRows(db)).length === 0)
    await expectNothingLeft()
  })

  it('completed twice in one transaction that rolls back, is in flight as before', async () => {
    const task = await monitor.register({ payload: null, jobRef: 'a' })
    const work = inTransaction(async (trx) => {
      await task.complete({ trx })
      await task.complete({ trx })
      throw undone
    })
    await expect(work).rejects.toBe(undone)
    expect(await monitor.settle(task)).toBe('open')
    await task.complete()
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

  it.each([
    ['completed', (task: TaskHandle) => task.complete()],
    ['given back', (task: TaskHandle) => task.release()],
    ['asked about', (task: TaskHandle) => monitor.settle(task, { soon: true })],
  ])('is not %s by its work while that is open: a lease later it is told so', async (_, end) => {
    await monitor.run({ payload: null, jobRef: 'a' }, async (task) => {
      await inTransaction(async (trx) => {
        await task.complete({ trx })
        await expect(end(task)).rejects.toSatisfy((error) => ConfigError.is(error))
      })
      expect(await monitor.settle(task, { soon: true })).toBe('completed')
    })
    expect([errors, await effects()]).toEqual([[], 1])
    // The end's own question may have come before the row could be deleted.
    await until(async () => (await taskRows(db)).length === 0)
    await expectNothingLeft()
  })

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

  /** As a sweep finds it that takes the process for dead. */
  const fence = (): Promise<unknown> => sql`update holdfast_processes set state = 'dead'`.execute(db)

  it('is lost when it rolled back and its process was recovered before anyone could ask', async () => {
    const work = monitor.run({ payload: null, jobRef: 'a' }, async (task) => {
      await inTransaction(async (trx) => {
        await task.complete({ trx })
        throw undone
      }).catch((error) => expect(error).toBe(undone))
      await fence()
      const other = await started()
      await until(async () => (await taskRows(db)).length === 0)
      await other.stop()
    })
    await expect(work).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
    expect(await enqueuedRefs(db)).toEqual(['a'])
  })

  it.each(['before it was completed', 'while that is open'])(
    'has ended when that commits, though its process was declared dead %s',
    async (when) => {
      const result = await monitor.run({ payload: null, jobRef: 'a' }, (task) =>
        inTransaction(async (trx) => {
          if (when === 'before it was completed') await fence()
          await task.complete({ trx })
          if (when === 'while that is open') await fence()
          await until(() => monitor.health().events.evicted)
        }).then(() => 'done'),
      )
      expect(result).toBe('done')
      expect(await effects()).toBe(1)
      expect(await taskRows(db)).toEqual([])
      expect(await enqueuedRefs(db)).toEqual([])
    },
  )

  it('is waited for by a stop, which tells it no lie', async () => {
    let begun = false
    let finish!: () => void
    const finished = new Promise<void>((resolve) => {
      finish = resolve
    })
    const work = monitor.run({ payload: null, jobRef: 'a' }, (task) =>
      inTransaction(async (trx) => {
        await task.complete({ trx })
        begun = true
        await finished
        return task.signal.aborted
      }),
    )
    await until(() => begun)
    let stopped = false
    const stopping = monitor.stop({ drain: 30_000 }).then(() => {
      stopped = true
    })
    await until(() => monitor.health().state === 'stopping')
    const beats = monitor.health().leaseRemainingMs
    await until(() => monitor.health().leaseRemainingMs > beats, { what: 'the next heartbeat' })
    expect(stopped).toBe(false)
    finish()
    expect(await work).toBe(false)
    await stopping
    expect(await effects()).toBe(1)
    expect(await enqueuedRefs(db)).toEqual([])
  })

  it.each(['the end first', 'the failure first'])(
    'has failed when what it waits for beside the end fails, %s',
    async (order) => {
      for (let round = 0; round < 10; round++) {
        const failing = async (): Promise<void> => Promise.reject(undone)
        const work = monitor.run({ payload: null, jobRef: `job ${round}` }, async (task) => {
          await inTransaction((trx) => {
            const end = () => task.complete({ trx })
            const both = order === 'the end first' ? [end(), failing()] : [failing(), end()]
            return Promise.all(both)
          }).catch((error) => expect(error).toBe(undone))
          return monitor.settle(task)
        })
        expect(await work).toBe('open')
        await expectNothingLeft()
      }
    },
  )

  it.each(['complete', 'release'] as const)(
    'has ended when that commits and %s() is tried once more',
    async (again) => {
      const work = monitor.run({ payload: null, jobRef: 'a' }, async (task) => {
        await inTransaction((trx) => task.complete({ trx }))
        // As whoever does that has not heard of the commit.
        await expect(task[again]()).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
        return 'done'
      })
      expect(await work).toBe('done')
      expect(await enqueuedRefs(db)).toEqual([])
      await expectNothingLeft()
    },
  )

  it.each(['abort', 'recover'] as const)(
    'is overdue while that is open, and with onOverdue: %s told so',
    async (onOverdue) => {
      const work = monitor.run({ payload: null, jobRef: 'a', maxRuntime: 100, onOverdue }, (task) =>
        inTransaction(async (trx) => {
          await task.complete({ trx })
          await until(() => task.signal.aborted)
          throw task.signal.reason
        }),
      )
      await expect(work).rejects.toMatchObject({ code: 'HOLDFAST_TASK_OVERDUE' })
      await until(async () => (await taskRows(db)).length === 0)
      await until(() => monitor.health().inFlight === 0)
      expect(monitor.health().events.taskOverdue).toBe(1)
    },
  )

  it('keeps no other task waiting', async () => {
    const [undecided, other] = await Promise.all(
      ['a', 'b'].map((jobRef) => monitor.register({ payload: null, jobRef })),
    )
    let again: Promise<unknown> | undefined
    await inTransaction(async (trx) => {
      await undecided!.complete({ trx })
      again = monitor.unregister(undecided!.id).catch((error: unknown) => error)
      await other!.complete()
      await monitor.updateHeartbeats([undecided!])
    })
    expect(await again).toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
    await expectNothingLeft()
  })

  it('is asked for together with all the others', async () => {
    const count = 300
    let statements = 0
    await using own = connect(database.url, 5, () => {
      statements += 1
    })
    const one = new TaskMonitor({ db: own, adapters: [tableQueueAdapter()], ...fast })
    await one.start()
    const tasks = await Promise.all(Array.from({ length: count }, () => one.register({ payload: null })))
    let settled: Promise<string[]> | undefined
    await inTransaction(async (trx) => {
      for (const task of tasks) await task.complete({ trx })
      statements = 0
      settled = Promise.all(tasks.map((task) => one.settle(task)))
      await until(() => statements > 20)
    })
    expect(new Set(await settled)).toEqual(new Set(['completed']))
    expect(statements).toBeLessThan(count)
    await one.stop({ drain: 0 })
  })

  it('settles for an adapter as open, completed, released or lost', async () => {
    const register = (jobRef: string) => monitor.register({ payload: null, jobRef })
    const [untouched, completed, released, undoneOne, committed] = await Promise.all(
      ['a', 'b', 'c', 'd', 'e'].map(register),
    )
    await completed!.complete()
    await released!.release()
    await inTransaction((trx) => undoneOne!.complete({ trx }).then(() => Promise.reject(undone))).catch(
      () => {
        expect(undoneOne!.open).toBe(true)
      },
    )
    await inTransaction((trx) => committed!.complete({ trx }))
    const settled = [untouched, completed, released, undoneOne, committed].map((task) =>
      monitor.settle(task!),
    )
    expect(await Promise.all(settled)).toEqual(['open', 'completed', 'released', 'open', 'completed'])
    expect([undoneOne, committed].map((task) => task!.open)).toEqual([true, false])
    await monitor.stop({ drain: 0 })
    expect(await monitor.settle(untouched!)).toBe('lost')
  })
})
