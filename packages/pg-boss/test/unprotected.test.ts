import { until } from '@holdfast/chaos'
import { ConfigError, NotProtectedError, type TaskHandle, TaskMonitor } from '@holdfast/core'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type PgBossAdapter, pgBossAdapter } from '../src/index.js'
import { isTen } from './support/boss.js'
import { Fixture } from './support/fixture.js'

type Job = { readonly id: string; readonly task: TaskHandle }

/** Longer than what waits for the end of a stop. */
const DRAIN = 90_000

let fixture: Fixture
let adapter: PgBossAdapter
let monitor: TaskMonitor
beforeEach(async () => {
  fixture = await Fixture.create()
  const { boss, db } = fixture
  await sql`create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$`.execute(
    db,
  )
  await sql`create trigger refuse before insert on holdfast_tasks for each row execute function refuse()`.execute(
    db,
  )
  adapter = pgBossAdapter({ boss, db })
  monitor = new TaskMonitor({
    ...{ db, adapters: [adapter], onRegisterFailure: 'run-unprotected' },
    ...{ heartbeatInterval: 200, orphanThreshold: 5_000, sweepInterval: 200, gcLockTtl: 10_000 },
  })
  await monitor.start()
})
afterEach(async () => {
  await monitor.stop({ drain: 0 })
  await fixture[Symbol.asyncDispose]()
})

/** Sends a job and waits until it has ended. Answers it, and in which states pg-boss had it as its handler ran. */
async function outcomeOf(way: 'track' | 'handOff', handler: (job: Job, run: number) => unknown) {
  const states: string[] = []
  const one = async (job: Job): Promise<unknown> => {
    expect(job.task.protected).toBe(false)
    states.push((await fixture.job(job.id)).state)
    return handler(job, states.length)
  }
  const handlers = {
    track: adapter.track(async ([job]) => one(job as Job)),
    handOff: adapter.handOff((job) => one(job as Job), { concurrency: 1 }),
  }
  const id = await fixture.add({}, { retryLimit: 1, retryDelay: 0 })
  await fixture.boss.work('q', { pollingIntervalSeconds: 0.5 }, handlers[way] as never)
  await until(async () => ['completed', 'failed'].includes((await fixture.job(id)).state))
  return { job: await fixture.job(id), states }
}

describe.each(['track', 'handOff'] as const)('a job that could not be protected (%s)', (way) => {
  it('is active in pg-boss until its handler has ended, and then completed', async () => {
    const { job, states } = await outcomeOf(way, () => ({ done: true }))
    expect(job).toMatchObject({ state: 'completed', output: way === 'track' ? { done: true } : null })
    expect(states).toEqual(['active'])
  })

  it('is retried by its own rules when its handler throws', async () => {
    const { job, states } = await outcomeOf(way, () => Promise.reject(new Error('no luck')))
    expect(job).toMatchObject({ state: 'failed', retry_count: 1, output: { message: 'no luck' } })
    expect(states).toEqual(['active', 'active'])
  })

  it('can’t be given back: its handler hears so', async () => {
    const { job, states } = await outcomeOf(way, async ({ task }, run) => {
      if (run > 1) return
      await expect(task.release()).rejects.toSatisfy((error) => NotProtectedError.is(error))
      throw new Error('no luck')
    })
    expect(job).toMatchObject({ state: 'completed', retry_count: 1 })
    expect(states).toHaveLength(2)
  })

  it.each([
    ['commits and returns', false, false, 1],
    ['commits and throws', false, true, 1],
    ['rolls back and throws', true, true, 2],
  ])(
    'and whose handler %s after it completed it in a transaction ends so',
    async (_, rollsBack, throws, runs) => {
      const { job, states } = await outcomeOf(way, async ({ task }, run) => {
        if (run > 1) return
        const work = fixture.db.transaction().execute(async (trx) => {
          await task.complete({ trx })
          if (rollsBack) throw new Error('rolled back')
        })
        await work.catch(() => undefined)
        if (throws) throw new Error('no luck')
      })
      expect(job).toMatchObject({ state: 'completed', retry_count: runs - 1 })
      expect(states).toHaveLength(runs)
    },
  )
})

it('a job that could not be protected is ended in no other way while a transaction that ends it is open', async () => {
  const refused: unknown[] = []
  const { job } = await outcomeOf('track', ({ task }) =>
    fixture.db.transaction().execute(async (trx) => {
      await task.complete({ trx })
      refused.push(await task.complete().catch((error) => error))
    }),
  )
  expect(job).toMatchObject({ state: 'completed', retry_count: 0 })
  expect(refused).toEqual([expect.toSatisfy((error) => ConfigError.is(error))])
})

it('a stop waits for no job that could not be protected and has not begun', async () => {
  const begun: string[] = []
  let end = (): void => undefined
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  const handler = adapter.handOff(
    ({ id }) => {
      begun.push(id)
      return ended
    },
    { concurrency: 1 },
  )
  const jobs = [await fixture.add(), await fixture.add()]
  for (let n = 0; n < 2; n++) await fixture.boss.work('q', { pollingIntervalSeconds: 0.5 }, handler as never)
  await until(() => begun.length === 1 && monitor.health().inFlight === 2, { what: 'the other waits' })
  let stopped = false
  const stopping = monitor.stop({ drain: DRAIN }).then(() => {
    stopped = true
  })
  const [other] = jobs.filter((id) => !begun.includes(id))
  await until(async () => (await fixture.job(other!)).state === 'retry', { what: 'the other is given back' })
  end()
  await until(() => stopped, { what: 'the monitor has stopped', timeout: 20_000 })
  await stopping
  expect(begun).toHaveLength(1)
})

it('a batch that could not be protected ends as its handler does', async () => {
  for (let n = 0; n < 3; n++) await fixture.add({ n }, { retryLimit: 0 })
  await fixture.boss.work(
    'q',
    { pollingIntervalSeconds: 0.5, batchSize: 3 },
    adapter.track(() => Promise.reject(new Error('no luck'))) as never,
  )
  await fixture.inState('failed', 3)
})

it.runIf(!isTen)('a transactional batch that could not be protected commits as before', async () => {
  for (let n = 0; n < 2; n++) await fixture.add({ n })
  await fixture.boss.work(
    'q',
    { pollingIntervalSeconds: 0.5, batchSize: 2, transactional: true },
    adapter.track(async (jobs, tx) => {
      for (const { id } of jobs)
        await tx.executeSql("insert into ledger (what, job) values ('effect', $1)", [id])
    }) as never,
  )
  await fixture.inState('completed', 2)
  expect(await fixture.ledger('effect')).toHaveLength(2)
})
