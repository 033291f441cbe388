import { until } from '@holdfast/chaos'
import { type RawBuilder, sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('a handed-off job', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('that fails is retried by graphile-worker’s own rules, with its error and the next attempt; so is a tracked one', async () => {
    await fixture.worker({ pollInterval: 500 })
    for (const task of ['handed', 'tracked'] as const) {
      await fixture.add(
        task,
        { fail: 'no luck' },
        { maxAttempts: 5, priority: 3, jobKey: task, queueName: task },
      )
    }
    const jobs = await until(async () => {
      const failed = (await fixture.jobs()).filter(({ lastError }) => lastError === 'no luck')
      return failed.length === 2 ? failed : undefined
    })
    expect(jobs.map(({ identifier }) => identifier).sort()).toEqual(['handed', 'tracked'])
    for (const job of jobs) {
      expect(job).toMatchObject({
        attempts: 1,
        maxAttempts: 5,
        priority: 3,
        key: job.identifier,
        queueName: job.identifier,
        lockedBy: null,
        due: false,
      })
    }
    expect(await fixture.crashes()).toEqual([])
    await fixture.started(4)
    expect((await fixture.ledger('start')).map(({ attempts }) => attempts)).toEqual([1, 1, 2, 2])
  })

  it('whose error is no text for a database is retried all the same', async () => {
    await fixture.worker()
    await fixture.add('handed', { fail: `odd \0 and ${'long '.repeat(10_000)}` }, { maxAttempts: 5 })
    await until(async () =>
      (await fixture.jobs()).some(({ lastError }) => lastError?.startsWith('odd \ufffd and long')),
    )
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({ attempts: 1, lockedBy: null, available: true }),
    ])
  })

  it('without the adapter’s plugin is refused, and says what is missing', async () => {
    await fixture.worker({ withoutPlugin: true })
    await fixture.add('handed')
    await until(async () =>
      (await fixture.jobs()).some(({ lastError }) => lastError?.includes('plugins: [adapter.plugin]')),
    )
    expect(await fixture.ledger()).toEqual([])
  })

  it('waits when the process works on as many as it may, and keeps its worker waiting', async () => {
    await fixture.worker({ concurrency: 2, handOffConcurrency: 3 })
    for (let n = 0; n < 8; n++) await fixture.add('handed', { gate: 'open' })
    await fixture.started(3)
    // Three work, two wait for a place in a worker of their own, three were never fetched.
    await until(async () => (await fixture.jobs()).length === 5)
    await until(async () => (await fixture.jobs()).filter(({ lockedBy }) => lockedBy !== null).length === 2)
    expect((await fixture.jobs()).filter(({ attempts }) => attempts === 0)).toHaveLength(3)
    expect(await fixture.ledger('start')).toHaveLength(3)
    await fixture.openGate('open')
    await fixture.finished(8)
  })

  it.each([
    ['its process', 'stop'],
    ['its runner alone', 'stopRunner'],
  ])('that still waits for a place when %s stops is given back with its attempt', async (_, stop) => {
    const worker = await fixture.worker({ concurrency: 2, handOffConcurrency: 1 })
    for (let n = 0; n < 2; n++) await fixture.add('handed', { gate: 'open' })
    await fixture.started(1)
    await until(async () => (await fixture.jobs()).filter(({ lockedBy }) => lockedBy !== null).length === 1)
    worker.send(stop)
    await until(async () =>
      (await fixture.jobs()).some(({ attempts, lockedBy }) => attempts === 0 && lockedBy === null),
    )
    // The other one is waited for.
    if (stop === 'stopRunner') await fixture.openGate('open')
    await worker.message('stopped')
    expect(await fixture.ledger('start')).toHaveLength(1)
    expect((await fixture.jobs()).map(({ available }) => available)).toEqual(
      stop === 'stop' ? [true, true] : [true],
    )
  })

  it('that runs for longer than it may is aborted, and tried again by graphile-worker’s own rules; so is a tracked one', async () => {
    const named = { mode: 'handOff', concurrency: 5, maxRuntime: 300 } as const
    await fixture.worker({ adapter: { tasks: { named, listening: { mode: 'track', maxRuntime: 300 } } } })
    for (const task of ['named', 'listening'] as const) {
      await fixture.add(task, { gate: 'never' }, { maxAttempts: 2 })
    }
    const failed = async () => (await fixture.jobs()).filter(({ lastError }) => lastError !== null)
    await until(async () => (await failed()).length === 2)
    for (const job of await failed()) {
      expect(job).toMatchObject({ attempts: 1, available: true, due: false })
      expect(job.lastError).toContain('maxRuntime')
    }
    expect(await fixture.crashes()).toEqual([])
  })

  it('notes its progress where it says so', async () => {
    await fixture.worker()
    await fixture.add('handed', { gate: 'open' })
    await fixture.started(1)
    const progress = async (): Promise<unknown[]> =>
      (await sql`select progress_at from holdfast_tasks where progress_at is not null`.execute(fixture.db))
        .rows
    expect(await progress()).toEqual([])
    await fixture.add('handed', { gate: 'open', progress: true })
    await until(async () => (await progress()).length === 1)
    await fixture.openGate('open')
    await fixture.finished(2)
  })
})

describe('a job on its way from graphile-worker to the monitor', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  /** Runs `work` while one of the worker's statements can't go on, and ends that statement where its client is dead. */
  const whileHeld = async (lock: RawBuilder<unknown>, work: () => Promise<void>): Promise<void> => {
    await fixture.db.transaction().execute(async (trx) => {
      await lock.execute(trx)
      await fixture.add('handed', { gate: 'open' }, { queueName: 'serial', maxAttempts: 3 })
      await until(async () => (await waiting('pid')).length > 0)
      await work()
    })
  }
  const waiting = async (what: 'pid' | 'pg_terminate_backend(pid)'): Promise<unknown[]> => {
    const { rows } = await sql`select ${sql.raw(what)} from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`.execute(fixture.db)
    return rows
  }

  it.each([
    ['before it is registered', sql`lock table holdfast_tasks in share mode`],
    ['before it is removed', sql`select pg_advisory_xact_lock(4711)`],
  ])('is never in neither when its process is killed (%s), and runs once', async (_, lock) => {
    await sql`create function wait() returns trigger language plpgsql as $$ begin
      perform pg_advisory_xact_lock_shared(4711);
      return old; end $$`.execute(fixture.db)
    await sql`create trigger wait before delete on graphile_worker._private_jobs
      for each row execute function wait()`.execute(fixture.db)
    const victim = await fixture.worker()
    await whileHeld(lock, async () => {
      expect(await fixture.jobs()).toEqual([expect.objectContaining({ lockedBy: expect.any(String) })])
      await victim.kill()
      await waiting('pg_terminate_backend(pid)')
    })
    const survivor = await fixture.worker()
    await fixture.openGate('open')
    await fixture.finished(1)
    await until(async () => (await fixture.jobs()).length === 0)
    await until(async () => (await fixture.tasks()).length === 1)
    expect((await fixture.ledger('finish')).map(({ pid }) => pid)).toEqual([survivor.pid])
    expect(await fixture.lockedQueues()).toEqual([])
  })

  it('that was taken from its worker meanwhile is not begun by it', async () => {
    const worker = await fixture.worker({ pollInterval: 100, concurrency: 1 })
    await whileHeld(sql`lock table holdfast_tasks in share mode`, async () => {
      await sql`update graphile_worker._private_jobs set locked_by = 'another'`.execute(fixture.db)
    })
    await until(() => worker.output.includes('is no longer locked by this worker'))
    expect(await fixture.ledger()).toEqual([])
    expect((await fixture.tasks()).map(({ kind }) => kind)).toEqual(['guard'])
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({ lockedBy: 'another', attempts: 1, lastError: null }),
    ])
  })

  it('keeps no place when it could not be handed off', async () => {
    await fixture.worker({ handOffConcurrency: 1, monitor: { maxPayloadBytes: 1_000 } })
    await fixture.add('handed', { text: 'x'.repeat(2_000) }, { maxAttempts: 1 })
    await until(async () => (await fixture.jobs()).some(({ lastError }) => lastError !== null))
    await fixture.add('handed')
    await fixture.finished(1)
  })
})

describe('a batch job', () => {
  it.each([
    ['one by one', {}],
    ['fetched ahead', { worker: { localQueue: { size: 4 } } }],
  ])('that fails in part (%s) is tried again with the rest, through a clean stop too', async (_, preset) => {
    await using fixture = await Fixture.create()
    const worker = await fixture.worker({ preset, concurrency: 4 })
    await fixture.add('batch', [{}, { fail: 'no luck' }, {}], { queueName: 'serial' })
    await until(async () => (await fixture.jobs()).some(({ lastError }) => lastError?.includes('no luck')))
    worker.send('stop')
    await worker.message('stopped')
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({
        payload: '[{"fail":"no luck"}]',
        attempts: 1,
        lockedBy: null,
        available: true,
      }),
    ])
    expect(await fixture.tasks()).toEqual([])
  })
})
