import { until } from '@holdfast/chaos'
import { type TaskHandle, TaskMonitor } from '@holdfast/core'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type PgBossAdapter, pgBossAdapter } from '../src/index.js'
import { Fixture } from './support/fixture.js'

type Job = { readonly id: string; readonly task: TaskHandle; reportProgress?(): Promise<void> }
type Worker = (jobs: never[], tx: never) => Promise<unknown>

let fixture: Fixture
let adapter: PgBossAdapter
let monitor: TaskMonitor
const told: unknown[] = []
beforeEach(async () => {
  fixture = await Fixture.create()
  const { boss, db } = fixture
  told.length = 0
  boss.on('error', (error: unknown) => void told.push(error))
  adapter = pgBossAdapter({ boss, db })
  monitor = new TaskMonitor({ db, adapters: [adapter], orphanThreshold: 60_000 })
  await monitor.start()
})
afterEach(async () => {
  await monitor.stop({ drain: 0 })
  await fixture[Symbol.asyncDispose]()
})

const NESTED: Record<string, (work: (job: Job) => unknown) => Worker> = {
  'track in track': (work) => {
    const inner = adapter.track(async ([job]) => work(job!))
    return adapter.track(async (jobs, tx) => inner([...jobs], tx)) as never
  },
  'hand-off in track': (work) => {
    const inner = adapter.handOff((job) => work(job), { concurrency: 1 })
    return adapter.track(async (jobs) => inner([...jobs])) as never
  },
  'track in hand-off': (work) => {
    const inner = adapter.track(async ([job]) => work(job!))
    return adapter.handOff((job) => inner([job]), { concurrency: 1 }) as never
  },
  'hand-off in hand-off': (work) => {
    const inner = adapter.handOff((job) => work(job), { concurrency: 1 })
    return adapter.handOff((job) => inner([job]), { concurrency: 1 }) as never
  },
}

describe.each(Object.keys(NESTED))('a handler that was wrapped twice (%s)', (how) => {
  const run = async (work: (job: Job) => unknown, id: string): Promise<void> => {
    await fixture.boss.work('q', { pollingIntervalSeconds: 0.5 }, NESTED[how]!(work) as never)
    await until(async () => ['completed', 'failed'].includes((await fixture.job(id)).state))
    await fixture.settled()
  }

  it.each([0, 2])('has its job protected once, and waits for nothing (%i crashes)', async (crashes) => {
    const id = await fixture.add({}, { retryLimit: 0 })
    if (crashes > 0) {
      await sql`insert into holdfast_crashes (queue, job_ref, count, last_crash_at)
        values ('pg-boss', ${`q/${id}`}, ${crashes}::int, now())`.execute(fixture.db)
    }
    const seen: number[] = []
    await run(async (job) => {
      await job.reportProgress?.()
      seen.push((await fixture.tasks()).length)
      await fixture.db.transaction().execute((trx) => job.task.complete({ trx }))
    }, id)
    expect([seen, told]).toEqual([[1], []])
    expect(await fixture.job(id)).toMatchObject({ state: 'completed', retry_count: 0 })
  })

  it('fails with what that threw', async () => {
    const id = await fixture.add({}, { retryLimit: 0 })
    let runs = 0
    await run(() => {
      runs += 1
      throw new Error('no luck')
    }, id)
    await fixture.inState('failed', 1)
    expect(await fixture.job(id)).toMatchObject({ output: { message: 'no luck' } })
    expect(runs).toBe(1)
  })
})
