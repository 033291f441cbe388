import { setTimeout as delay } from 'node:timers/promises'
import { patience, until } from '@holdfast/chaos'
import { ConfigError, type TaskHandle, TaskMonitor } from '@holdfast/core'
import { sql, type Transaction } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type PgBossAdapter, pgBossAdapter } from '../src/index.js'
import { isTen } from './support/boss.js'
import { Fixture } from './support/fixture.js'

type Job = { readonly id: string; readonly task: TaskHandle }

/** Whether a transaction commits, its body throws, or its commit fails. */
type Fate = 'commits' | 'throws' | 'is refused'

/** Longer than any test: what waits for it, fails. */
const DRAIN = 300_000

let fixture: Fixture
let adapter: PgBossAdapter
let monitor: TaskMonitor
beforeEach(async () => {
  fixture = await Fixture.create()
  const { boss, db } = fixture
  // Violated twice, and not before the commit.
  await sql`create table strict (n int unique deferrable initially deferred)`.execute(db)
  await sql`insert into strict values (1)`.execute(db)
  adapter = pgBossAdapter({ boss, db })
  const times = { heartbeatInterval: 200, orphanThreshold: 5_000, sweepInterval: 200, gcLockTtl: 10_000 }
  monitor = new TaskMonitor({ db, adapters: [adapter], ...times })
  await monitor.start()
})
afterEach(async () => {
  await monitor.stop({ drain: 0 })
  await fixture[Symbol.asyncDispose]()
})

const effects = async (): Promise<number> => (await fixture.ledger('effect')).length

/** An effect and the end of a task. */
async function endIn(task: TaskHandle, fate: Fate, before?: () => Promise<unknown>): Promise<void> {
  await fixture.db.transaction().execute(async (trx: Transaction<unknown>) => {
    await sql`insert into ledger (what, job) values ('effect', ${task.jobRef})`.execute(trx)
    await task.complete({ trx })
    await before?.()
    if (fate === 'throws') throw new Error('rolled back')
    if (fate === 'is refused') await sql`insert into strict values (1)`.execute(trx)
  })
}

/** Runs a queue's jobs in a real worker of pg-boss's, each as often as it comes. */
async function work(way: 'track' | 'handOff', handler: (job: Job, run: number) => unknown): Promise<void> {
  let runs = 0
  const one = (job: Job): unknown => handler(job, ++runs)
  const handlers = {
    track: adapter.track(async ([job]) => one(job as Job)),
    handOff: adapter.handOff((job) => one(job as Job), { concurrency: 2 }),
  }
  await fixture.boss.work('q', { pollingIntervalSeconds: 0.5 }, handlers[way] as never)
}

/** Sends a job and waits until no run of it is left. Answers its row and how often it began. */
async function outcomeOf(
  way: 'track' | 'handOff',
  handler: (job: Job, run: number) => unknown,
  options: object = {},
) {
  let runs = 0
  const id = await fixture.add({}, { retryLimit: 1, retryDelay: 0, ...options })
  await work(way, (job, run) => {
    runs = run
    return handler(job, run)
  })
  // In one look, as a recovery changes both at once.
  const isOver = async (): Promise<boolean> => {
    const { rows } =
      await sql`select from pgboss.job where id = ${id}::uuid and state in ('completed', 'failed')
      and not exists (select from holdfast_tasks)`.execute(fixture.db)
    return rows.length === 1
  }
  await until(async () => runs > 0 && (await isOver()), { what: 'the job has ended and its row is gone' })
  await stopsAtOnce()
  return { job: await fixture.job(id), runs }
}

/** Nothing is left in flight that the drain would wait for. */
async function stopsAtOnce(): Promise<void> {
  const before = performance.now()
  await monitor.stop({ drain: DRAIN })
  expect(performance.now() - before).toBeLessThan(patience(DRAIN / 10))
  expect(await fixture.tasks()).toEqual([])
}

describe.each(['track', 'handOff'] as const)(
  'a job that its handler completed in a transaction (%s)',
  (way) => {
    it.each(['throws', 'is refused'] as const)(
      'which then %s, is retried as after any failure',
      async (fate) => {
        const { job, runs } = await outcomeOf(way, ({ task }, run) =>
          endIn(task, run === 1 ? fate : 'commits'),
        )
        expect(job).toMatchObject({ state: 'completed', retry_count: 1 })
        expect([runs, await effects()]).toEqual([2, 1])
      },
    )

    it('which is rolled back by a time limit as it does so, is retried: nothing sent behind the rollback ends it', async () => {
      const { job, runs } = await outcomeOf(way, ({ task }, run) => {
        if (run > 1) return endIn(task, 'commits')
        return fixture.db.transaction().execute((trx: Transaction<unknown>) => {
          const tooSlow = delay(10).then(() => Promise.reject(new Error('too slow')))
          const written =
            sql`insert into ledger (what, job) select 'effect', 'slow' from pg_sleep(0.05)`.execute(trx)
          return Promise.race([Promise.all([written, task.complete({ trx })]), tooSlow])
        })
      })
      expect(job).toMatchObject({ state: 'completed', retry_count: 1 })
      expect([runs, await effects()]).toEqual([2, 1])
    })

    it.each(['throws', 'is refused'] as const)(
      'which then %s, says why when no attempt is left',
      async (fate) => {
        const { job, runs } = await outcomeOf(way, ({ task }) => endIn(task, fate), { retryLimit: 0 })
        const message = fate === 'throws' ? 'rolled back' : expect.stringContaining('duplicate key')
        expect(job).toMatchObject({ state: 'failed', retry_count: 0, output: { message } })
        expect([runs, await effects()]).toEqual([1, 0])
      },
    )

    it('which rolls back unnoticed, ends as its handler does', async () => {
      const { job, runs } = await outcomeOf(way, async ({ task }) => {
        await expect(endIn(task, 'throws')).rejects.toThrow('rolled back')
        return { done: true }
      })
      expect(job).toMatchObject({ state: 'completed', output: way === 'track' ? { done: true } : null })
      expect([runs, await effects()]).toEqual([1, 0])
    })

    it('which commits, stays so whatever its handler throws afterwards', async () => {
      const told: unknown[] = []
      fixture.boss.on('error', (error: Error) => void told.push(error.cause))
      const afterwards = new Error('afterwards')
      const { job, runs } = await outcomeOf(way, async ({ task }) => {
        await endIn(task, 'commits')
        throw afterwards
      })
      expect(job).toMatchObject({ state: 'completed', retry_count: 0, output: null })
      expect([runs, await effects()]).toEqual([1, 1])
      // What nothing else is done about.
      expect(told).toEqual([afterwards])
    })

    it.each(['without one', 'in a second one'])(
      'which rolls back, may be completed again %s',
      async (how) => {
        const { job, runs } = await outcomeOf(way, async ({ task }) => {
          await expect(endIn(task, 'is refused')).rejects.toThrow('duplicate key')
          if (how === 'without one') await task.complete()
          else await endIn(task, 'commits')
          throw new Error('afterwards')
        })
        expect(job).toMatchObject({ state: 'completed', retry_count: 0, output: null })
        expect([runs, await effects()]).toEqual([1, how === 'without one' ? 0 : 1])
      },
    )

    it('which rolls back, may be released', async () => {
      const { job, runs } = await outcomeOf(way, async ({ task }, run) => {
        if (run > 1) return
        await expect(endIn(task, 'throws')).rejects.toThrow('rolled back')
        await task.release()
      })
      expect(job).toMatchObject({ state: 'completed', retry_count: 1, retry_limit: 2 })
      expect([runs, await effects()]).toEqual([2, 0])
    })

    it('which is open, can’t be ended in another way: that is refused after a lease', async () => {
      const refused: unknown[] = []
      const { job, runs } = await outcomeOf(way, ({ task }) =>
        endIn(task, 'commits', async () => {
          refused.push(await task.complete().catch((error) => error))
        }),
      )
      expect(job).toMatchObject({ state: 'completed', retry_count: 0 })
      expect([runs, await effects()]).toEqual([1, 1])
      expect(refused).toEqual([expect.toSatisfy((error) => ConfigError.is(error))])
      expect(String(refused[0])).toContain('completed in a transaction that is open still')
    })

    it.each([
      { end: 'returns', fate: 'commits', as: { state: 'completed', retry_count: 0 }, runs: 1 },
      { end: 'throws', fate: 'commits', as: { state: 'completed', retry_count: 0 }, runs: 1 },
      { end: 'returns', fate: 'throws', as: { state: 'completed', retry_count: 0 }, runs: 1 },
      { end: 'throws', fate: 'throws', as: { state: 'completed', retry_count: 1 }, runs: 2 },
    ] as const)('that is open when its handler $end, and then $fate', async ({ end, fate, as, runs }) => {
      const left: Promise<unknown>[] = []
      const done = outcomeOf(way, async ({ task }, run) => {
        if (run > 1) return
        let isOpen = (): void => undefined
        const opened = new Promise<void>((resolve) => {
          isOpen = resolve
        })
        const gate = async (): Promise<void> => {
          isOpen()
          await until(async () => (await sql`select from gates`.execute(fixture.db)).rows.length > 0)
        }
        left.push(endIn(task, fate, gate).catch((error) => error))
        await opened
        if (end === 'throws') throw new Error('left open')
      })
      await until(() => left.length > 0)
      // It waits: the row is there, the job untouched.
      await until(async () => monitor.health().inFlight === 0)
      expect((await fixture.tasks()).length).toBe(1)
      await fixture.openGate('now')
      const { job, runs: begun } = await done
      expect(job).toMatchObject(as)
      expect([begun, await effects()]).toEqual([runs, fate === 'commits' ? 1 : 0])
      expect(String(await left[0])).toContain(fate === 'commits' ? 'undefined' : 'rolled back')
    })
  },
)

describe.each(['track', 'handOff'] as const)('a job that its handler gives back (%s)', (way) => {
  it('and which then throws runs again, and what it threw is told', async () => {
    const told: Error[] = []
    fixture.boss.on('error', (error: Error) => void told.push(error))
    const afterwards = new Error('afterwards')
    const { job, runs } = await outcomeOf(way, async ({ task }, run) => {
      if (run > 1) return
      await task.release()
      throw afterwards
    })
    expect(job).toMatchObject({ state: 'completed', retry_count: 1, retry_limit: 2 })
    expect(runs).toBe(2)
    expect(told.map(({ cause }) => cause)).toEqual([afterwards])
    expect(told[0]!.message).toContain('was given back before its handler threw')
  })
})

describe('a batch whose handler completed its jobs in transactions', () => {
  it('ends each as its own transaction did', async () => {
    const ids: string[] = []
    for (let n = 0; n < 4; n++) ids.push(await fixture.add({ n }, { retryLimit: 1, retryDelay: 0 }))
    const sizes: number[] = []
    const handler = adapter.track<{ n: number }>(async (jobs) => {
      sizes.push(jobs.length)
      if (sizes.length > 1) return
      for (const { data, task } of jobs.toSorted((a, b) => a.data.n - b.data.n)) {
        if (data.n === 0) await endIn(task, 'commits')
        if (data.n === 1) await expect(endIn(task, 'throws')).rejects.toThrow('rolled back')
        if (data.n === 2) await endIn(task, 'is refused')
      }
    })
    await fixture.boss.work('q', { pollingIntervalSeconds: 0.5, batchSize: 4 }, handler as never)
    await fixture.inState('completed', 4)
    await stopsAtOnce()
    const counts = await Promise.all(ids.map(async (id) => (await fixture.job(id)).retry_count))
    expect(counts).toEqual([0, 1, 1, 1])
    expect([sizes, await effects()]).toEqual([[4, 3], 1])
  })

  it('and which then throws, ends as failed what is open, and tells of the others', async () => {
    const told: string[] = []
    fixture.boss.on('error', (error: Error) => void told.push(error.message))
    const ids: string[] = []
    for (let n = 0; n < 3; n++) ids.push(await fixture.add({ n }, { retryLimit: 0 }))
    const handler = adapter.track<{ n: number }>(async (jobs) => {
      await endIn(jobs.find(({ data }) => data.n === 0)!.task, 'commits')
      throw new Error('afterwards')
    })
    await fixture.boss.work('q', { pollingIntervalSeconds: 0.5, batchSize: 3 }, handler as never)
    await fixture.inState('failed', 2)
    await stopsAtOnce()
    const states = await Promise.all(ids.map(async (id) => (await fixture.job(id)).state))
    expect(states).toEqual(['completed', 'failed', 'failed'])
    expect(told).toEqual([expect.stringContaining(ids[0]!)])
  })

  it('ends those at once whose transaction is not open still', async () => {
    for (let n = 0; n < 3; n++) await fixture.add({ n }, { retryLimit: 0 })
    let finish!: () => void
    const finished = new Promise<void>((resolve) => {
      finish = resolve
    })
    let open: Promise<void> | undefined
    let runs = 0
    const handler = adapter.track<{ n: number }>(async (jobs) => {
      runs += jobs.length
      const { task } = jobs.find(({ data }) => data.n === 0)!
      let completed = false
      open = endIn(task, 'commits', () => {
        completed = true
        return finished
      })
      await until(() => completed)
    })
    await fixture.boss.work('q', { pollingIntervalSeconds: 0.5, batchSize: 3 }, handler as never)
    await fixture.inState('completed', 2)
    expect((await fixture.jobs()).filter(({ state }) => state === 'active')).toHaveLength(1)
    finish()
    await open
    await fixture.inState('completed', 3)
    await stopsAtOnce()
    expect([runs, await effects()]).toEqual([3, 1])
  })

  it.runIf(!isTen)(
    'with perJobResults (since 12), where one did not commit, ends that one as the handler says',
    async () => {
      const ids: string[] = []
      for (let n = 0; n < 3; n++) ids.push(await fixture.add({ n }, { retryLimit: 0 }))
      const handler = adapter.track<{ n: number }>(
        async (jobs) => {
          for (const { data, task } of jobs)
            await endIn(task, data.n === 0 ? 'commits' : 'throws').catch(String)
          return jobs.map(({ id, data }) => ({
            id,
            status: data.n === 1 ? 'completed' : 'failed',
            output: { n: data.n },
          }))
        },
        { perJobResults: true },
      )
      await fixture.boss.work(
        'q',
        { pollingIntervalSeconds: 0.5, batchSize: 3, perJobResults: true },
        handler as never,
      )
      await until(async () =>
        (await fixture.jobs()).every(({ state }) => state !== 'created' && state !== 'active'),
      )
      await stopsAtOnce()
      const jobs = await Promise.all(ids.map((id) => fixture.job(id)))
      expect(jobs.map(({ state, output }) => [state, output])).toEqual([
        ['completed', null],
        ['completed', { n: 1 }],
        ['failed', { n: 2 }],
      ])
      expect(await effects()).toBe(1)
    },
  )
})
