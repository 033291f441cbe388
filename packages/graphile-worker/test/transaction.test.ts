import { setTimeout as delay } from 'node:timers/promises'
import { type AnyDatabase, until } from '@holdfast/chaos'
import type { TaskHandle } from '@holdfast/core'
import { sql } from 'kysely'
import { describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'
import { InProcess } from './support/in-process.js'
import { transactionCases } from './support/transaction-cases.js'

transactionCases('tracked')

describe('a tracked job that its handler ends once more while a transaction in which it completed it is open', () => {
  const ENDS = {
    'completes it': (task: TaskHandle) => task.complete(),
    'completes it in another': (task: TaskHandle, db: AnyDatabase) =>
      db.transaction().execute((trx) => task.complete({ trx })),
    'gives it back': (task: TaskHandle) => task.release(),
  } as const

  it.each(
    Object.keys(ENDS).flatMap((way) => [
      [way as keyof typeof ENDS, 'commits'] as const,
      [way as keyof typeof ENDS, 'rolls back'] as const,
    ]),
  )('is told so a lease later (%s), and ended by the transaction if that %s', async (way, end) => {
    await using fixture = await Fixture.create()
    const undone = new Error('undone')
    const told: unknown[] = []
    await using worker = await InProcess.of(fixture, {
      monitor: { orphanThreshold: 3_000 },
      tasks: (adapter) => ({
        tracked: adapter.track(async (_, { task }) => {
          const work = fixture.db.transaction().execute(async (trx) => {
            await task.complete({ trx })
            told.push(await task.complete({ trx }).catch((error: unknown) => error))
            told.push(await ENDS[way](task, fixture.db).catch((error: unknown) => error))
            if (end === 'rolls back') throw undone
          })
          await work.catch((error) => expect(error).toBe(undone))
          told.push(await task.complete().catch((error: unknown) => error))
        }),
      }),
    })
    await fixture.add('tracked', {}, { queueName: 'serial' })
    await until(() => told.length === 3)
    await until(async () => (await fixture.jobs()).length === 0)
    await until(async () => (await fixture.tasks()).every(({ kind }) => kind === 'guard'))
    expect(told.map((error) => (error as Error | undefined)?.name)).toEqual([
      'TaskLostError',
      'ConfigError',
      end === 'commits' ? 'TaskLostError' : undefined,
    ])
    expect(await fixture.lockedQueues()).toEqual([])
    await worker.stopsAtOnce()
    expect(told).toHaveLength(3)
  })
})

describe('a tracked job that is completed as its transaction is rolled back', () => {
  it('is tried again: nothing that is sent behind the rollback ends it', async () => {
    await using fixture = await Fixture.create()
    await sql`create table answers (n int)`.execute(fixture.db)
    let runs = 0
    await using _worker = await InProcess.of(fixture, {
      tasks: (adapter) => ({
        tracked: adapter.track(async (_, { task }) => {
          runs += 1
          if (runs > 1) return
          await fixture.db.transaction().execute(async (trx) => {
            const tooSlow = delay(10).then(() => Promise.reject(new Error('too slow')))
            const written = sql`insert into answers select 1 from pg_sleep(0.05)`.execute(trx)
            await Promise.race([Promise.all([written, task.complete({ trx })]), tooSlow])
          })
        }),
      }),
    })
    await fixture.add('tracked', {}, { maxAttempts: 5 })
    await until(() => runs === 2)
    await until(async () => (await fixture.jobs()).length === 0)
    expect((await sql`select n from answers`.execute(fixture.db)).rows).toEqual([])
  })
})

describe('a tracked job at which a person has been', () => {
  it.each([
    ['throws', ['throw']],
    ['rolls back and throws', ['rollback', 'throw']],
  ])('and that %s, its row deleted, keeps no place: it has failed', async (_, steps) => {
    await using fixture = await Fixture.create()
    await fixture.worker({ concurrency: 1, pollInterval: 200, monitor: { orphanThreshold: 60_000 } })
    await sql`create function forget() returns trigger language plpgsql as
      'begin delete from public.holdfast_tasks where job_ref is not null; return new; end'`.execute(
      fixture.db,
    )
    await sql`create trigger forget after insert on ledger for each row when (new.what = 'start' and new.attempts = 1)
      execute function forget()`.execute(fixture.db)
    await fixture.add('tracked', { steps }, { maxAttempts: 2 })
    await until(async () => (await fixture.jobs()).some(({ lastError }) => lastError !== null))
    expect(await fixture.jobs()).toMatchObject([{ attempts: 1, lockedBy: null }])
    await fixture.hurry()
    await fixture.finished(1)
    await until(async () => (await fixture.jobs()).length === 0)
  })

  it('and whose lock was changed keeps no place, either: it is tried again', async () => {
    await using fixture = await Fixture.create()
    await fixture.worker({ concurrency: 1, pollInterval: 200, monitor: { orphanThreshold: 60_000 } })
    const id = await fixture.add('tracked', { gate: 'open' })
    await fixture.started(1)
    await sql`update graphile_worker._private_jobs set locked_at = locked_at + interval '1.5 seconds'`.execute(
      fixture.db,
    )
    await fixture.openGate('open')
    await until(async () =>
      (await fixture.jobs()).some(({ lastError }) => lastError?.includes('no longer locked')),
    )
    expect(await fixture.jobs()).toMatchObject([{ id, attempts: 1, lockedBy: null }])
    await fixture.hurry()
    await fixture.finished(2)
    await until(async () => (await fixture.jobs()).length === 0)
  })

  it('and that returns, its row deleted, has succeeded', async () => {
    await using fixture = await Fixture.create()
    await fixture.worker({ concurrency: 1 })
    await fixture.add('tracked', { gate: 'open' })
    await fixture.started(1)
    await sql`delete from holdfast_tasks where job_ref is not null`.execute(fixture.db)
    await fixture.openGate('open')
    await fixture.finished(1)
    await until(async () => (await fixture.jobs()).length === 0)
    await fixture.add('tracked')
    await fixture.finished(2)
  })
})
