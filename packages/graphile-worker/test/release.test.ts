import { until } from '@holdfast/chaos'
import { TaskLostError } from '@holdfast/core'
import type { Task } from 'graphile-worker'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TrackHelpers } from '../src/index.js'
import { Fixture } from './support/fixture.js'
import { hasLocalQueue } from './support/graphile.js'
import { InProcess, type InProcessOptions } from './support/in-process.js'

let fixture: Fixture
beforeEach(async () => {
  fixture = await Fixture.create()
})
afterEach(() => fixture[Symbol.asyncDispose]())

type Run = (helpers: TrackHelpers, n: number) => unknown

/** Runs of the jobs of a tracked task: how many there were, and how many at once. */
async function running(run: Run, options: Partial<InProcessOptions> = {}) {
  const runs = { begun: 0, now: 0, most: 0, attempts: [] as number[] }
  const worker = await InProcess.of(fixture, {
    tasks: (adapter) => ({
      tracked: adapter.track(async (_, helpers) => {
        runs.begun += 1
        runs.now += 1
        runs.most = Math.max(runs.most, runs.now)
        runs.attempts.push(helpers.job.attempts)
        try {
          return (await run(helpers, runs.begun)) as Awaited<ReturnType<Task>>
        } finally {
          runs.now -= 1
        }
      }),
    }),
    ...{ concurrency: 3, pollInterval: 60_000 },
    ...options,
  })
  return Object.assign(worker, { runs })
}

/** No job is left, nor a row. */
const over = (): Promise<unknown> =>
  until(async () => {
    const left = (await fixture.tasks()).filter(({ kind }) => kind !== 'guard')
    return (await fixture.jobs()).length + left.length === 0
  })

/** Long enough for a pool to fetch a job that it may have. */
const aWhile = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 700))

const localQueue = { worker: { localQueue: { size: 4 } } }

const WAYS: Record<string, Partial<InProcessOptions>> = {
  'one by one': {},
  ...(hasLocalQueue && {
    'fetched ahead': { preset: localQueue },
    'its failures written late': { preset: { worker: { failJobBatchDelay: 900 } } },
  }),
}

describe.each(Object.entries(WAYS))('a tracked job that its handler gives back (%s)', (_, options) => {
  it.each([
    ['returns', () => undefined],
    ['throws', () => Promise.reject(new Error('no luck'))],
  ])('runs again soon when that, later, %s: never twice at once, and with its attempt', async (_, end) => {
    await using worker = await running(async ({ task }, n) => {
      if (n > 3) return
      expect(task.open).toBe(true)
      await task.release()
      expect(task.open).toBe(false)
      await aWhile()
      await end()
    }, options)
    await fixture.add('tracked', {}, { queueName: 'serial' })
    await over()
    const { begun, most, attempts } = worker.runs
    expect({ begun, most, attempts }).toEqual({ begun: 4, most: 1, attempts: [1, 1, 1, 1] })
    expect(await fixture.lockedQueues()).toEqual([])
    expect(await fixture.crashes()).toEqual([])
    await worker.stopsAtOnce()
  })

  it('runs again in a pool of one place, too', async () => {
    await using worker = await running(({ task }, n) => (n > 2 ? undefined : task.release()), {
      ...options,
      concurrency: 1,
    })
    await fixture.add('tracked')
    await fixture.add('tracked')
    await over()
    expect(worker.runs).toMatchObject({ begun: 4, most: 1 })
    await worker.stopsAtOnce()
  })
})

it('a tracked job that was given back can be ended in no other way, nor one that was ended', async () => {
  const refused: boolean[] = []
  const tried = async (end: Promise<void>): Promise<void> => {
    refused.push(
      await end.then(
        () => false,
        (error) => TaskLostError.is(error),
      ),
    )
  }
  await using worker = await running(async ({ task }, n) => {
    if (n === 1) await task.release()
    else await task.complete()
    await tried(task.complete())
    await tried(fixture.db.transaction().execute((trx) => task.complete({ trx })))
    await tried(task.release())
  })
  await fixture.add('tracked')
  await over()
  expect(worker.runs.begun).toBe(2)
  expect(refused).toEqual([true, true, true, true, true, true])
  await worker.stopsAtOnce()
})

it('a tracked job that may be tried once never begins twice when it is given back', async () => {
  await using worker = await running(({ task }) => task.release())
  await fixture.add('tracked', {}, { maxAttempts: 1 })
  await until(async () => (await fixture.jobs()).some(({ lastError }) => lastError !== null))
  expect(await fixture.jobs()).toMatchObject([{ attempts: 1, available: false, lockedBy: null }])
  expect((await fixture.jobs())[0]!.lastError).toContain('given back by its worker')
  expect(worker.runs.begun).toBe(1)
})

it('a tracked job of whose giving back no answer comes, on its last attempt, runs again and has not failed', async () => {
  await sql`create function wait() returns trigger language plpgsql as $$ begin
    perform pg_advisory_xact_lock_shared(4711); return new; end $$`.execute(fixture.db)
  await sql`create trigger wait before update on holdfast_tasks for each row
    when (new.process_id like 'released:%') execute function wait()`.execute(fixture.db)
  await using worker = await running(
    ({ task }, n) => {
      if (n === 1) throw new Error('no luck')
      return n === 2 ? task.release() : undefined
    },
    { pollInterval: 200 },
  )
  await fixture.add('tracked', {}, { maxAttempts: 2 })
  await until(async () => (await fixture.jobs()).some(({ lastError }) => lastError === 'no luck'))
  await fixture.db.transaction().execute(async (trx) => {
    await sql`select pg_advisory_xact_lock(4711)`.execute(trx)
    await fixture.hurry()
    await until(async () => {
      const { rows } = await sql`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and wait_event = 'advisory'`.execute(fixture.db)
      return rows.length > 0
    })
  })
  await over()
  expect(worker.runs).toMatchObject({ begun: 3, most: 1, attempts: [1, 2, 2] })
  expect(await fixture.crashes()).toEqual([])
  await worker.stopsAtOnce()
})

it.runIf(hasLocalQueue)(
  'a run that is no longer the job’s leaves the place that the next one waits for, fetched ahead',
  async () => {
    let wake!: () => void
    const woken = new Promise<void>((resolve) => {
      wake = resolve
    })
    await using worker = await running((_, n) => (n === 1 ? woken : undefined), {
      ...{ concurrency: 1, pollInterval: 100, preset: localQueue },
    })
    const id = await fixture.add('tracked')
    await until(() => worker.runs.begun === 1)
    // As a person would, or an overdue run's recovery: it lies in the pool's own queue then.
    const lockedAt = async () => (await fixture.fetchOf(id)).lockedAt
    const first = await lockedAt()
    await sql`update graphile_worker._private_jobs set locked_by = null, locked_at = null`.execute(fixture.db)
    await until(async () => {
      const [job] = await fixture.jobs()
      return job!.lockedBy !== null && (await lockedAt()) !== first
    })
    wake()
    await until(() => worker.runs.begun === 2)
    await until(async () => (await fixture.jobs()).every((job) => job.id !== id))
    expect(worker.runs).toMatchObject({ most: 1, attempts: [1, 2] })
    await worker.stopsAtOnce()
  },
)
