import { type AnyDatabase, connect, patience, until } from '@holdfast/chaos'
import { type TaskHandle, TaskMonitor } from '@holdfast/core'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type PgBossAdapter, pgBossAdapter } from '../src/index.js'
import { Fixture } from './support/fixture.js'
import { LostAnswers } from './support/lost-answers.js'

/** Longer than any test: what waits for it, fails. */
const DRAIN = 300_000

describe('the end of a job that can’t be written at once', () => {
  let fixture: Fixture
  let answers: LostAnswers
  let db: AnyDatabase
  let adapter: PgBossAdapter
  let monitor: TaskMonitor
  /** Payloads that the monitor's codec refuses. */
  let unstorable: RegExp
  beforeEach(async () => {
    unstorable = /$^/
    fixture = await Fixture.create()
    const through = await LostAnswers.to(fixture.database.url)
    answers = through.answers
    db = connect(through.url)
    adapter = pgBossAdapter({ boss: fixture.boss, db })
    const times = { heartbeatInterval: 200, orphanThreshold: 5_000, sweepInterval: 200, gcLockTtl: 10_000 }
    const logger = { warn: () => undefined, error: () => undefined }
    const codec = {
      encode(text: string): string {
        if (unstorable.test(text)) throw new Error('not to be stored')
        return text
      },
      decode: (stored: string) => stored,
    }
    monitor = new TaskMonitor({ db, adapters: [adapter], logger, codec, maxPayloadBytes: 4_096, ...times })
    await monitor.start()
  })
  afterEach(async () => {
    await monitor.stop({ drain: 0 })
    await db.destroy()
    await answers[Symbol.asyncDispose]()
    await fixture[Symbol.asyncDispose]()
  })

  /** Works on the jobs of `q`, in one batch, and counts how often. */
  async function work(
    handler: (jobs: readonly { task: TaskHandle; data: { n: number } }[], run: number) => unknown,
    batchSize = 1,
  ): Promise<{ runs: number }> {
    const counts = { runs: 0 }
    const tracked = adapter.track(async (jobs) => handler(jobs as never, ++counts.runs))
    await fixture.boss.work('q', { pollingIntervalSeconds: 0.5, batchSize }, tracked as never)
    return counts
  }

  const isOver = async (state: string): Promise<unknown> =>
    until(
      async () => {
        const { rows } = await sql`select from pgboss.job where name = 'q' and state::text <> ${state}
          union all select from holdfast_tasks`.execute(fixture.db)
        return rows.length === 0
      },
      { what: `all jobs are ${state} and no task is in flight` },
    )

  const stopsAtOnce = async (): Promise<void> => {
    const before = performance.now()
    await monitor.stop({ drain: DRAIN })
    expect(performance.now() - before).toBeLessThan(patience(DRAIN / 10))
  }

  /** Refuses to commit the end of a task; `unless` says of which tasks not. */
  async function refuse(code: string, unless: string): Promise<void> {
    await sql`create function refuse() returns trigger language plpgsql as $$ begin
      raise exception 'refused' using errcode = ${sql.lit(code)}; end $$`.execute(fixture.db)
    await sql`create constraint trigger refuse after update of ended on holdfast_tasks deferrable initially deferred
      for each row when (${sql.raw(unless)}) execute function refuse()`.execute(fixture.db)
  }

  it.each([
    { what: 'a commit that was done', isDone: true },
    { what: 'a commit that was not', isDone: false },
  ])('is written once when the answer to $what is lost', async ({ isDone }) => {
    for (let n = 0; n < 3; n++) await fixture.add({ n }, { retryDelay: 0 })
    const counts = await work((jobs) => {
      answers.lose(2, /update "holdfast_tasks" set ended/, isDone)
      return { of: jobs.length }
    }, 3)
    await isOver('completed')
    expect(counts.runs).toBe(1)
    for (const job of await fixture.jobs()) expect(job).toMatchObject({ retry_count: 0 })
    expect(answers.left).toBe(isDone ? 1 : 0)
    await stopsAtOnce()
  })

  it('is written by the handler once when the answer to its own commit is lost', async () => {
    const id = await fixture.add({}, { retryDelay: 0 })
    const counts = await work(async ([job]) => {
      answers.lose(1, /update "holdfast_tasks" set ended/, true)
      await db.transaction().execute(async (trx) => {
        await sql`insert into ledger (what) values ('effect')`.execute(trx)
        await job!.task.complete({ trx })
      })
    })
    await isOver('completed')
    expect(await fixture.job(id)).toMatchObject({ retry_count: 0 })
    expect([counts.runs, (await fixture.ledger('effect')).length]).toEqual([1, 1])
    await stopsAtOnce()
  })

  it('is left to recovery when the database refuses it, whatever it is', async () => {
    const id = await fixture.add({}, { retryLimit: 0 })
    await refuse('23514', "old.payload not like '%failure%'")
    await work(() => 1)
    await isOver('failed')
    expect(await fixture.job(id)).toMatchObject({ output: { message: 'refused' } })
    await stopsAtOnce()
  })

  it('is left to recovery, with what the handler threw, when it can’t be written for as long as the job may run', async () => {
    const id = await fixture.add({}, { retryLimit: 0, expireInSeconds: 1 })
    await refuse('55P03', "old.payload not like '%failure%'")
    await work(() => Promise.reject(new Error('broken')))
    await isOver('failed')
    expect((await fixture.job(id)).output).toBeTruthy()
    await stopsAtOnce()
  })

  it.each(['track', 'handOff'] as const)(
    'neither by us nor by recovery keeps no row: the job runs again, and that is told (%s)',
    async (way) => {
      const told: string[] = []
      fixture.boss.on('error', (error: Error) => void told.push(error.message))
      const id = await fixture.add({}, { retryLimit: 1, retryDelay: 0 })
      await refuse('23514', 'true')
      unstorable = /"failure"/
      let runs = 0
      const one = async (): Promise<void> => {
        runs += 1
        if (runs === 1) throw new Error('broken')
        await sql`drop trigger if exists refuse on holdfast_tasks`.execute(fixture.db)
      }
      const handler = way === 'track' ? adapter.track(one) : adapter.handOff(one, { concurrency: 1 })
      await fixture.boss.work('q', { pollingIntervalSeconds: 0.5 }, handler as never)
      await isOver('completed')
      expect(runs).toBe(2)
      expect(told).toContain('not to be stored')
      expect(await fixture.job(id)).toMatchObject({ state: 'completed' })
      await stopsAtOnce()
    },
  )

  it('in a batch keeps none of the others', async () => {
    for (let n = 0; n < 3; n++) await fixture.add({ n }, { retryLimit: 0 })
    const [one] = await fixture.jobs()
    await refuse('23514', `old.payload not like '%failure%' and old.job_ref = 'q/${one!.id}'`)
    await work(() => undefined, 3)
    await until(async () =>
      (await fixture.jobs()).every(({ state }) => state === 'completed' || state === 'failed'),
    )
    await fixture.settled()
    expect((await fixture.jobs()).filter(({ state }) => state === 'failed').map(({ id }) => id)).toEqual([
      one!.id,
    ])
    await stopsAtOnce()
  })

  it('is no matter of what was thrown', async () => {
    const refuse = (): never => {
      throw new Error('not to be read')
    }
    const thrown: unknown[] = [
      {
        toString: () => {
          throw new Error('no text')
        },
      },
      Object.assign(new Error('x'), { message: { of: 'no text' } }),
      Object.assign(new Error('x'), { message: Object.create(null), name: Object.create(null) }),
      { toJSON: refuse },
      Object.defineProperty({}, 'message', { get: refuse }),
      {
        toString: () => {
          throw Object.create(null)
        },
      },
      undefined,
      Symbol('s'),
      Object.create(null),
    ]
    for (const way of ['track', 'handOff'] as const) {
      for (const [n, value] of thrown.entries()) {
        const id = await fixture.add({ n }, { retryLimit: 0 })
        const failing = (): never => {
          throw value
        }
        const handler =
          way === 'track' ? adapter.track(failing) : adapter.handOff(failing, { concurrency: 1 })
        await (handler((await fixture.boss.fetch('q')) as never) as Promise<unknown>).catch(() => undefined) // Told to 12.
        await until(async () => (await fixture.job(id)).state === 'failed', {
          what: `${way} ${n} has failed`,
        })
        await fixture.settled()
      }
    }
    await stopsAtOnce()
  })

  it.each(['track', 'handOff'] as const)(
    'is that of a failure, however long and odd the text of it (%s)',
    async (way) => {
      for (const [character, kept] of [
        ['\u0001', '\u0001'],
        ['\ud83d', '\ufffd'],
      ] as const) {
        const id = await fixture.add({}, { retryLimit: 0 })
        const failing = (): never => {
          throw new Error(character.repeat(100_000))
        }
        const handler =
          way === 'track' ? adapter.track(failing) : adapter.handOff(failing, { concurrency: 1 })
        await (handler((await fixture.boss.fetch('q')) as never) as Promise<unknown>).catch(() => undefined) // Told to 12.
        await until(async () => (await fixture.job(id)).state === 'failed', { what: 'it has failed' })
        await fixture.settled()
        expect((await fixture.job(id)).output!.message).toMatch(new RegExp(`^${kept}{800}`))
      }
      await stopsAtOnce()
    },
  )

  it('which can’t be read is that of a failure', async () => {
    const id = await fixture.add({}, { retryLimit: 0 })
    const output = {
      toJSON: () => {
        throw new Error('not to be read')
      },
    }
    await adapter.track(async () => output)((await fixture.boss.fetch('q')) as never)
    expect(await fixture.job(id)).toMatchObject({ state: 'failed', output: { message: 'not to be read' } })
    await stopsAtOnce()
  })
})
