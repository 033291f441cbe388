import { until } from '@holdfast/chaos'
import type { TaskHandle } from '@holdfast/core'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'
import { InProcess } from './support/in-process.js'

let fixture: Fixture
beforeEach(async () => {
  fixture = await Fixture.create()
})
afterEach(() => fixture[Symbol.asyncDispose]())

const refuse = (): never => {
  throw new Error('no text')
}

const THROWN = {
  'a bare object': () => Object.create(null),
  'an object without a text': () => ({ toString: refuse }),
  'an object whose message can’t be read': () => Object.defineProperty({}, 'message', { get: refuse }),
  'an error whose message is no text': () => Object.assign(new Error('x'), { message: { of: 'x' } }),
  'an error whose message has no text': () => Object.assign(new Error('x'), { message: Object.create(null) }),
  'a text': () => 'no luck',
  nothing: () => undefined,
  'a symbol': () => Symbol('s'),
  'an error': () => new TypeError('no luck'),
  'a long error of control characters': () => new Error('\u0001'.repeat(100_000)),
  'a long error of halves of characters': () => new Error('\ud83d'.repeat(100_000)),
} as const

/** What of it can be told. */
const TEXTS: Partial<Record<keyof typeof THROWN, string>> = {
  'a text': 'no luck',
  'an error': 'no luck',
  'a long error of control characters': '\u0001'.repeat(2_500),
  'a long error of halves of characters': '\ufffd'.repeat(2_500),
}

/** No row is left but the pool's. */
const onlyTheGuard = () =>
  until(async () => (await fixture.tasks()).every(({ kind }) => kind === 'guard'), { what: 'no row is left' })

/** What the one place of the pool is proved to be free by. */
async function runsAnother(): Promise<void> {
  await fixture.add('guarded')
  await fixture.finished(1)
}

const proof = async (): Promise<void> => {
  await fixture.db.insertInto('ledger').values({ what: 'finish' }).execute()
}

describe.each(['tracked', 'retried', 'handed'] as const)('a handler (%s) that throws', (way) => {
  it.each(Object.keys(THROWN) as (keyof typeof THROWN)[])('%s has failed with that', async (what) => {
    const thrown: unknown = THROWN[what]()
    const fail = (): never => {
      throw thrown
    }
    await using worker = await InProcess.of(fixture, {
      tasks: (adapter) => ({
        tracked: adapter.track(fail),
        named: fail,
        handed: adapter.handOff(fail, { concurrency: 1 }),
        guarded: proof,
      }),
    })
    // One that is tried again has a row of its own, under guard too.
    const attempts = way === 'retried' ? 2 : 1
    await fixture.db.transaction().execute(async (trx) => {
      await sql`lock table graphile_worker._private_jobs in share row exclusive mode`.execute(trx)
      await sql`select graphile_worker.add_job(${way === 'retried' ? 'named' : way}, max_attempts => ${attempts}::int)`.execute(
        trx,
      )
      await sql`update graphile_worker._private_jobs set attempts = ${attempts - 1}`.execute(trx)
    })
    await until(async () => (await fixture.jobs()).some(({ lastError }) => lastError !== null))
    const [job] = await fixture.jobs()
    expect(job).toMatchObject({ attempts, lockedBy: null, available: false })
    if (TEXTS[what] !== undefined) expect(job!.lastError).toBe(TEXTS[what])
    await onlyTheGuard()
    if (way !== 'handed') {
      // By itself, or where that would end graphile-worker's worker as the cause of an error.
      const { error } = worker.errors[0]!
      expect(error === thrown || (error as Error).cause === thrown).toBe(true)
    }
    await runsAnother()
    await worker.stopsAtOnce()
  })
})

describe.each([
  ['deleted', sql`delete from graphile_worker._private_jobs where locked_by is not null`],
  [
    'unlocked',
    sql`update graphile_worker._private_jobs set locked_by = null, locked_at = null, run_at = now() + interval '1 hour'
      where locked_by is not null`,
  ],
])('a tracked job that a person has %s while it ran', (_, harm) => {
  const error = new TypeError('no luck')
  it.each([
    ['throws', () => Promise.reject(error)],
    ['completes it and throws', (task: TaskHandle) => task.complete().finally(() => Promise.reject(error))],
    [
      'completes it in a transaction and throws',
      (task: TaskHandle) =>
        fixture.db
          .transaction()
          .execute((trx) => task.complete({ trx }))
          .finally(() => Promise.reject(error)),
    ],
    [
      'rolls that back and throws',
      (task: TaskHandle) =>
        fixture.db.transaction().execute(async (trx) => {
          await task.complete({ trx }).catch(() => undefined)
          throw error
        }),
    ],
    ['gives it back and throws', (task: TaskHandle) => task.release().finally(() => Promise.reject(error))],
  ])('and whose handler %s keeps nothing, and graphile-worker is told the error', async (_, end) => {
    await using worker = await InProcess.of(fixture, {
      tasks: (adapter) => ({
        tracked: adapter.track(async (_, { task }) => {
          await harm.execute(fixture.db)
          await end(task)
        }),
        guarded: proof,
      }),
    })
    await fixture.add('tracked')
    await until(() => worker.errors.length > 0)
    expect(worker.errors[0]!.error).toBe(error)
    await onlyTheGuard()
    await runsAnother()
    expect(
      (await fixture.jobs()).every(({ lockedBy, lastError }) => lockedBy === null && lastError === null),
    ).toBe(true)
    await worker.stopsAtOnce()
  })

  it('and whose handler returns keeps nothing', async () => {
    await using worker = await InProcess.of(fixture, {
      tasks: (adapter) => ({
        tracked: adapter.track(async () => {
          await harm.execute(fixture.db)
        }),
        guarded: proof,
      }),
    })
    await fixture.add('tracked')
    await until(() => worker.errors.length > 0)
    await onlyTheGuard()
    await runsAnother()
    await worker.stopsAtOnce()
  })
})
