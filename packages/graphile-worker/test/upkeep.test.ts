import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { graphileWorkerAdapter } from '../src/index.js'
import { keepLocks, settleJobs } from '../src/job-sql.js'
import { inDatabase } from '../src/run.js'
import { graphileTables } from '../src/tables.js'
import { repairQueues, Upkeep, unlockUnknown } from '../src/upkeep.js'
import { Fixture } from './support/fixture.js'

const tables = graphileTables('graphile_worker')
const none = async (): Promise<Set<string>> => new Set()
const logger = { warn: () => undefined, error: () => undefined }
const context = { logger, remaining: none, registered: none }

let fixture: Fixture
beforeEach(async () => {
  fixture = await Fixture.create()
})
afterEach(() => fixture[Symbol.asyncDispose]())

/** Makes the locks of all jobs and queues `hours` old. */
async function age(hours: number): Promise<void> {
  const then = sql`now() - ${hours}::int * interval '1 hour'`
  await sql`update graphile_worker._private_jobs set locked_at = ${then}, updated_at = ${then}
    where locked_at is not null`.execute(fixture.db)
  await sql`update graphile_worker._private_job_queues set locked_at = ${then}
    where locked_at is not null`.execute(fixture.db)
}

describe('a named queue', () => {
  it('that is locked and whose lock no job has is freed by a sweep, and goes on', async () => {
    const id = await fixture.add('guarded', {}, { queueName: 'serial' })
    // What a zombie's unfenced completion leaves behind, as a process without Holdfast can still do it.
    await sql`update graphile_worker._private_job_queues
      set locked_by = 'worker-gone', locked_at = now() - interval '1 minute'`.execute(fixture.db)
    const worker = await fixture.worker()
    await fixture.finished(1)
    expect((await fixture.ledger('finish')).map(({ job }) => job)).toEqual([id])
    await until(() => worker.output.includes('freed named queues that no job held: serial'))
  })

  it('is looked at once a minute, and left alone while its lock is young', async () => {
    const lock = (ms: number) =>
      sql`
      insert into graphile_worker._private_job_queues (queue_name, locked_by, locked_at)
      values ('wedged', 'worker-gone', now() - ${ms}::int * interval '1 millisecond')
      on conflict (queue_name) do update set locked_by = excluded.locked_by, locked_at = excluded.locked_at`.execute(
        fixture.db,
      )
    const run = inDatabase(fixture.db)
    await lock(20_000)
    expect(await repairQueues(run, tables)).toEqual([])
    await lock(40_000)
    const upkeep = new Upkeep(tables, undefined)
    await upkeep.keep(run, context)
    expect(await fixture.lockedQueues()).toEqual([])
    await lock(40_000)
    await upkeep.keep(run, context)
    expect(await fixture.lockedQueues()).toEqual(['wedged'])
  })

  it('that a running job holds is left alone, however old its lock', async () => {
    const holder = await fixture.worker()
    await fixture.add('guarded', { gate: 'open' }, { queueName: 'serial' })
    await fixture.started(1)
    await fixture.add('guarded', {}, { queueName: 'serial' })
    await age(1)
    const sweeper = await fixture.worker()
    await sql`insert into graphile_worker._private_job_queues (queue_name, locked_by, locked_at)
      values ('wedged', 'worker-gone', now() - interval '1 minute')`.execute(fixture.db)
    await until(async () => !(await fixture.lockedQueues()).includes('wedged'))
    expect(await fixture.lockedQueues()).toEqual(['serial'])
    expect(await fixture.ledger('start')).toHaveLength(1)
    expect([holder, sweeper].map(({ process }) => process.exitCode)).toEqual([null, null])
  }, 120_000)
})

describe('a job that is locked by nobody known', () => {
  const lock = async (hours: number): Promise<void> => {
    await fixture.add('guarded', {}, { maxAttempts: 2, queueName: 'serial' })
    await fixture.add('guarded', {}, { maxAttempts: 1 })
    await sql`update graphile_worker._private_jobs set attempts = 1, locked_by = 'worker-gone', locked_at = now()`.execute(
      fixture.db,
    )
    await sql`update graphile_worker._private_job_queues set locked_by = 'worker-gone', locked_at = now()`.execute(
      fixture.db,
    )
    await age(hours)
  }

  it('is left alone by default', async () => {
    await lock(3)
    await sql`insert into graphile_worker._private_job_queues (queue_name, locked_by, locked_at)
      values ('wedged', 'worker-gone', now() - interval '1 minute')`.execute(fixture.db)
    await fixture.worker()
    // With this, upkeep has been done.
    await until(async () => !(await fixture.lockedQueues()).includes('wedged'))
    expect((await fixture.jobs()).map(({ lockedBy }) => lockedBy)).toEqual(['worker-gone', 'worker-gone'])
  })

  it('is left alone after an outage, until the living have said what they run', async () => {
    await lock(3)
    const run = inDatabase(fixture.db)
    const keep = async (gapFreeForMs: number): Promise<void> => {
      const upkeep = new Upkeep(tables, 7_200_000)
      upkeep.monitor = { health: () => ({ gapFreeForMs }) as never }
      await upkeep.keep(run, context)
    }
    await keep(179_000)
    expect((await fixture.jobs()).map(({ lockedBy }) => lockedBy)).toEqual(['worker-gone', 'worker-gone'])
    await keep(181_000)
    expect((await fixture.jobs()).map(({ lockedBy }) => lockedBy)).toEqual([null, null])
  })

  it('is unlocked by the adapter that was asked to, once its monitor has beaten for long enough', async () => {
    await lock(3)
    const sweep = async (gapFreeForMs: number): Promise<void> => {
      const adapter = graphileWorkerAdapter({ sweepUnknownLocks: 7_200_000 })
      await adapter.onStart!({ on: () => undefined, health: () => ({ gapFreeForMs }) } as never)
      await fixture.db
        .transaction()
        .execute((trx) => Promise.resolve(adapter.onSweep!({ ...context, trx } as never)))
    }
    await sweep(179_000)
    expect((await fixture.jobs()).map(({ lockedBy }) => lockedBy)).toEqual(['worker-gone', 'worker-gone'])
    await sweep(181_000)
    expect((await fixture.jobs()).map(({ lockedBy }) => lockedBy)).toEqual([null, null])
  })

  it('is unlocked where that was asked for, its queue with it; on its last attempt it stands failed', async () => {
    await lock(3)
    expect(
      await fixture.db.transaction().execute((trx) => unlockUnknown(inDatabase(trx), tables, 7_200_000)),
    ).toEqual(['1', '2'])
    expect(await fixture.lockedQueues()).toEqual([])
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({ attempts: 1, lockedBy: null, lastError: null, available: true }),
      expect.objectContaining({
        attempts: 1,
        lockedBy: null,
        lastError: 'Locked for long by a worker that nobody knows, on its last attempt',
        available: false,
      }),
    ])
  })

  it('is left alone while its lock is younger than that', async () => {
    await lock(1)
    expect(
      await fixture.db.transaction().execute((trx) => unlockUnknown(inDatabase(trx), tables, 7_200_000)),
    ).toEqual([])
  })
})

describe('a job that runs for long', () => {
  it('keeps its lock only while it is its worker’s, and not superseded', async () => {
    const add = (key: string) => fixture.add('guarded', {}, { jobKey: key })
    const [kept, lost, removed] = [await add('a'), await add('b'), await add('c')]
    await sql`update graphile_worker._private_jobs set attempts = 1, locked_at = now(),
      locked_by = case id when ${lost}::bigint then 'another' else 'mine' end`.execute(fixture.db)
    await age(3)
    await sql`select graphile_worker.remove_job('c')`.execute(fixture.db)
    const fetched = await Promise.all(
      [kept, lost, removed].map(async (id) => ({ ...(await fixture.fetchOf(id)), attempts: 1 })),
    )
    const running = fetched.map((job) => ({ ...job, lockId: 'mine', renewals: 179 }))
    await keepLocks(inDatabase(fixture.db), tables, running)
    const { rows } = await sql<{ id: string }>`
      select id::text as id from graphile_worker._private_jobs where locked_at > now() - interval '1 hour'`.execute(
      fixture.db,
    )
    expect(rows).toEqual([{ id: kept }])
  })
})

describe('the end of a job that graphile-worker failed to write', () => {
  it('is written as it would have, for each while it is still locked by the same fetch', async () => {
    const ids: string[] = []
    for (let n = 0; n < 5; n++) ids.push(await fixture.add('guarded', {}, { queueName: `q${n}` }))
    await sql`update graphile_worker._private_jobs set locked_by = 'mine', locked_at = now(), attempts = 2`.execute(
      fixture.db,
    )
    await sql`update graphile_worker._private_job_queues set locked_by = 'mine', locked_at = now()`.execute(
      fixture.db,
    )
    await sql`update graphile_worker._private_jobs set locked_by = 'another' where id = ${ids[3]!}::bigint`.execute(
      fixture.db,
    )
    const { lockedAt } = await fixture.fetchOf(ids[0]!)
    const fetch = { lockId: 'mine', attempts: 2, lockedAt, renewals: 0 }
    const ended = [
      { ...fetch, id: ids[0]! },
      { ...fetch, id: ids[1]!, failure: 'no luck' },
      { ...fetch, id: ids[2]!, attempts: 1 },
      { ...fetch, id: ids[3]! },
      // Fetched again since, after its attempts were set back.
      { ...fetch, id: ids[4]!, lockedAt: lockedAt - 3_000, failure: 'of an earlier run' },
    ]
    expect((await settleJobs(inDatabase(fixture.db), tables, ended)).sort()).toEqual([ids[0], ids[1]])
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({ id: ids[1], lockedBy: null, lastError: 'no luck', due: false, attempts: 2 }),
      expect.objectContaining({ id: ids[2], lockedBy: 'mine' }),
      expect.objectContaining({ id: ids[3], lockedBy: 'another' }),
      expect.objectContaining({ id: ids[4], lockedBy: 'mine' }),
    ])
    expect((await fixture.lockedQueues()).sort()).toEqual(['q2', 'q3', 'q4'])
  })

  it('has the same next time as graphile-worker gives it', async () => {
    const id = await fixture.add('guarded', {}, { maxAttempts: 9 })
    await sql`update graphile_worker._private_jobs set locked_by = 'mine', locked_at = now(), attempts = 3`.execute(
      fixture.db,
    )
    const ours = async (): Promise<number> => {
      const { rows } = await sql<{ ms: number }>`
        select extract(epoch from run_at - now())::float8 * 1000 as ms from graphile_worker._private_jobs`.execute(
        fixture.db,
      )
      return rows[0]!.ms
    }
    await settleJobs(inDatabase(fixture.db), tables, [{ ...(await fixture.fetchOf(id)), failure: 'x' }])
    expect(await ours()).toBeGreaterThan(Math.exp(3) * 1_000 - 5_000)
    expect(await ours()).toBeLessThan(Math.exp(3) * 1_000 + 500)
  })
})
