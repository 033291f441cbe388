import { patience, until } from '@holdfast/chaos'
import { type TaskHandle, TaskMonitor } from '@holdfast/core'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { pgBossAdapter } from '../src/index.js'
import { isTen } from './support/boss.js'
import { Fixture } from './support/fixture.js'

type Jobs = readonly {
  readonly id: string
  readonly task: TaskHandle
  readonly data: { readonly n?: number }
}[]
type Tx = { executeSql(text: string, values?: unknown[]): Promise<unknown> }

/** Longer than any test: what waits for it, fails. */
const DRAIN = 300_000

describe.runIf(!isTen)('a transactional worker of pg-boss 12', () => {
  let fixture: Fixture
  let monitor: TaskMonitor
  let track: ReturnType<typeof pgBossAdapter>['track']
  beforeEach(async () => {
    fixture = await Fixture.create({ boss: { application_name: 'pgboss' } })
    const { boss, db } = fixture
    // Violated twice, and not before the commit.
    await sql`create table strict (n int unique deferrable initially deferred)`.execute(db)
    await sql`insert into strict values (1)`.execute(db)
    const adapter = pgBossAdapter({ boss, db })
    track = adapter.track
    const times = { heartbeatInterval: 200, orphanThreshold: 5_000, sweepInterval: 200, gcLockTtl: 10_000 }
    monitor = new TaskMonitor({ db, adapters: [adapter], ...times })
    await monitor.start()
  })
  afterEach(async () => {
    await monitor.stop({ drain: 0 })
    await fixture[Symbol.asyncDispose]()
  })

  const work = async (handler: (jobs: Jobs, tx: Tx, run: number) => unknown, options = {}): Promise<void> => {
    let runs = 0
    const tracked = track(((jobs: Jobs, tx: Tx) => handler(jobs, tx, ++runs)) as never)
    await fixture.boss.work(
      'q',
      { transactional: true, pollingIntervalSeconds: 0.5, ...options },
      tracked as never,
    )
  }
  const effect = (tx: Tx, id: string) =>
    tx.executeSql("insert into ledger (what, job) values ('effect', $1)", [id])
  const effects = async (): Promise<(string | null)[]> =>
    (await fixture.ledger('effect')).map(({ job }) => job).sort()

  const stopsAtOnce = async (): Promise<void> => {
    const before = performance.now()
    await monitor.stop({ drain: DRAIN })
    expect(performance.now() - before).toBeLessThan(patience(DRAIN / 10))
    expect(await fixture.tasks()).toEqual([])
  }

  it('whose commit fails has its jobs retried, and no row is left', async () => {
    const ids = [await fixture.add({}, { retryDelay: 0 }), await fixture.add({}, { retryDelay: 0 })]
    const sizes: number[] = []
    await work(
      async (jobs, tx, run) => {
        sizes.push(jobs.length)
        for (const { id } of jobs) await effect(tx, id)
        if (run === 1) await tx.executeSql('insert into strict values (1)')
      },
      { batchSize: 2 },
    )
    await fixture.inState('completed', 2)
    for (const id of ids) expect(await fixture.job(id)).toMatchObject({ retry_count: 1 })
    await fixture.settled()
    expect([sizes, await effects()]).toEqual([[2, 2], ids.sort()])
    await stopsAtOnce()
  })

  it('whose commit fails on a last attempt leaves nothing either', async () => {
    const id = await fixture.add({}, { retryLimit: 0 })
    await work((_, tx) => tx.executeSql('insert into strict values (1)'))
    await fixture.inState('failed', 1)
    const message = expect.stringContaining('duplicate key')
    expect(await fixture.job(id)).toMatchObject({ output: { message } })
    await fixture.settled()
    await stopsAtOnce()
  })

  it('that throws what pg-boss could not write has failed all the same', async () => {
    const refuse = (): never => {
      throw new Error('not to be read')
    }
    const thrown: unknown[] = [
      Object.create(null),
      { toString: refuse },
      { toJSON: refuse },
      Object.assign(new Error('x'), { message: Object.create(null) }),
      new Error('half \ud83d and \0'),
      undefined,
    ]
    const ids: string[] = []
    for (let n = 0; n < thrown.length; n++) ids.push(await fixture.add({ n }, { retryLimit: 0 }))
    await work(([job]) => {
      throw thrown[job!.data.n!]
    })
    await fixture.inState('failed', thrown.length)
    await fixture.settled()
    expect(await fixture.job(ids[4]!)).toMatchObject({ output: { message: 'half \ufffd and \ufffd' } })
    await stopsAtOnce()
  })

  it('that fails its jobs keeps their rows until pg-boss has written so', async () => {
    const id = await fixture.add({}, { retryLimit: 0 })
    await work(async () => {
      await until(async () => (await fixture.ledger('locked')).length === 1)
      throw new Error('broken')
    })
    await until(async () => (await fixture.tasks()).length === 1)
    await fixture.db.transaction().execute(async (trx) => {
      await sql`select from pgboss.job where id = ${id}::uuid for update`.execute(trx)
      await sql`insert into ledger (what) values ('locked')`.execute(fixture.db)
      const waits = sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
      await until(async () => (await waits.execute(fixture.db)).rows.length > 0)
      expect(await fixture.tasks()).toHaveLength(1)
    })
    await fixture.inState('failed', 1)
    await fixture.settled()
    await stopsAtOnce()
  })

  it('whose failure pg-boss can’t write has its job failed by recovery', async () => {
    const id = await fixture.add({}, { retryLimit: 0, expireInSeconds: 1 })
    await sql`create function refuse() returns trigger language plpgsql as $$ begin
      if current_setting('application_name') = 'pgboss' then raise exception 'refused'; end if;
      return old; end $$`.execute(fixture.db)
    await sql`create trigger refuse before delete on pgboss.job for each row execute function refuse()`.execute(
      fixture.db,
    )
    await work(() => Promise.reject(new Error('broken')))
    await fixture.inState('failed', 1)
    const output = { message: 'pg-boss has not written how this job ended.' }
    expect(await fixture.job(id)).toMatchObject({ output })
    await fixture.settled()
    await stopsAtOnce()
  })

  it('is stopped at once while its commit fails', async () => {
    const id = await fixture.add({}, { retryLimit: 0 })
    const stopped: Promise<void>[] = []
    await work(async (_, tx) => {
      await tx.executeSql('insert into strict values (1)')
      stopped.push(stopsAtOnce())
    })
    await until(() => stopped.length > 0)
    await stopped[0]
    await until(async () => (await fixture.job(id)).state === 'failed')
  })

  it('whose handler is cut short by a stop has its attempt given back', async () => {
    const id = await fixture.add({}, { retryLimit: 1 })
    await work(async ([job], tx) => {
      await effect(tx, job!.id)
      await new Promise((_, reject) => {
        job!.task.signal.addEventListener('abort', () => reject(new Error('cut short')))
      })
    })
    await until(async () => (await fixture.tasks()).length === 1)
    await monitor.stop({ drain: 0 })
    await until(async () => (await fixture.job(id)).due)
    expect(await fixture.job(id)).toMatchObject({ state: 'retry', retry_count: 0, retry_limit: 2 })
    expect([await effects(), await fixture.tasks()]).toEqual([[], []])
  })

  it.each([
    { how: 'has ended', again: 0 },
    { how: 'has given back', again: 1 },
  ])('whose handler throws after it $how its job is told', async ({ again }) => {
    const told: unknown[] = []
    fixture.boss.on('error', (error: Error) => void told.push(error.cause))
    const afterwards = new Error('afterwards')
    const id = await fixture.add({}, { retryLimit: 1, retryDelay: 0 })
    await work(async ([job], _, run) => {
      if (run > 1) return
      if (again > 0) await job!.task.release()
      else await fixture.db.transaction().execute((trx) => job!.task.complete({ trx }))
      throw afterwards
    })
    await until(() => told.length > 0)
    await fixture.inState('completed', 1)
    await fixture.settled()
    expect(told).toEqual([afterwards])
    expect(await fixture.job(id)).toMatchObject({ state: 'completed', retry_count: again })
    await stopsAtOnce()
  })

  it('whose handler ends a job in a transaction of its own does it once', async () => {
    const id = await fixture.add()
    await work(async ([job], tx, run) => {
      await effect(tx, `in pg-boss's ${run}`)
      await fixture.db.transaction().execute(async (trx) => {
        await sql`insert into ledger (what, job) values ('effect', ${`own ${run}`})`.execute(trx)
        await job!.task.complete({ trx })
      })
    })
    await fixture.inState('completed', 1)
    await fixture.settled()
    await stopsAtOnce()
    expect(await fixture.job(id)).toMatchObject({ state: 'completed', retry_count: 0 })
    expect(await effects()).toEqual(['own 1'])
  })

  it('that can’t begin a whole batch leaves no row of the jobs that begin too late', async () => {
    const ids = [await fixture.add({}, { retryLimit: 0 }), await fixture.add({}, { retryLimit: 0 })]
    await sql`insert into holdfast_crashes (queue, job_ref, count, last_crash_at)
      values ('pg-boss', ${`q/${ids[1]}`}, 2, now())`.execute(fixture.db)
    await work(() => Promise.reject(new Error('began')), { batchSize: 2 })
    await fixture.inState('failed', 2)
    const message = 'Not all jobs of this batch can begin now, so that none of it does.'
    for (const id of ids) expect(await fixture.job(id)).toMatchObject({ output: { message } })
    await stopsAtOnce()
  })
})
