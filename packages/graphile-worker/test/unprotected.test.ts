import { until } from '@holdfast/chaos'
import { NotProtectedError, type TaskHandle } from '@holdfast/core'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'
import { InProcess } from './support/in-process.js'

const monitor = { onRegisterFailure: 'run-unprotected' } as const

describe('a job that could not be protected', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
    await sql`create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$`.execute(
      fixture.db,
    )
    await sql`create trigger refuse before insert on holdfast_tasks for each row when (new.job_ref is not null)
      execute function refuse()`.execute(fixture.db)
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  type Run = (run: number, task: TaskHandle | undefined) => unknown

  /** Runs a job to its end. Answers how often it began; each time it was locked in graphile-worker. */
  async function runsOf(
    way: 'tracked' | 'handed' | 'retried',
    handler: Run,
    queueName?: string,
  ): Promise<number> {
    let runs = 0
    const one = async (_: unknown, { task }: { readonly task?: TaskHandle }): Promise<void> => {
      runs += 1
      expect((await fixture.jobs()).map(({ lockedBy }) => lockedBy !== null)).toEqual([true])
      await handler(runs, task)
    }
    await using worker = await InProcess.of(fixture, {
      monitor,
      tasks: (adapter) => ({
        tracked: adapter.track(one),
        handed: adapter.handOff(one, { concurrency: 1 }),
        named: one as never,
      }),
    })
    const spec = queueName === undefined ? {} : { queueName }
    await fixture.add(way === 'retried' ? 'named' : way, {}, { ...spec, maxAttempts: 2 })
    await until(async () => {
      await fixture.hurry()
      const [job] = await fixture.jobs()
      return job === undefined || (job.attempts === 2 && job.lockedBy === null)
    })
    expect(await fixture.lockedQueues()).toEqual([])
    await worker.stopsAtOnce()
    return runs
  }

  describe.each(['tracked', 'handed', 'retried'] as const)('%s', (way) => {
    it.each([undefined, 'serial'])('ends well when its handler does (queue %s)', async (queue) => {
      expect(await runsOf(way, () => undefined, queue)).toBe(1)
      expect(await fixture.jobs()).toEqual([])
    })

    it.each([undefined, 'serial'])(
      'is tried again with the error of its handler (queue %s)',
      async (queue) => {
        expect(await runsOf(way, (run) => Promise.reject(new Error(`no luck ${run}`)), queue)).toBe(2)
        expect(await fixture.jobs()).toMatchObject([{ lastError: 'no luck 2', available: false }])
      },
    )
  })

  describe.each(['tracked', 'handed'] as const)('%s', (way) => {
    it('can’t be given back: its handler hears so', async () => {
      const runs = await runsOf(way, async (run, task) => {
        if (run > 1) return
        await expect(task!.release()).rejects.toSatisfy((error) => NotProtectedError.is(error))
        throw new Error('no luck')
      })
      expect([runs, await fixture.jobs()]).toEqual([2, []])
    })

    it.each([
      ['commits and returns', false, false, 1],
      ['commits and throws', false, true, 1],
      ['rolls back and throws', true, true, 2],
    ])(
      'ends as its handler has it that completed it in a transaction, which %s',
      async (_, back, throws, expected) => {
        const runs = await runsOf(way, async (run, task) => {
          if (run > 1) return
          const work = fixture.db.transaction().execute(async (trx) => {
            await task!.complete({ trx })
            if (back) throw new Error('rolled back')
          })
          await work.catch(() => undefined)
          if (throws) throw new Error('no luck')
        })
        expect([runs, await fixture.jobs()]).toEqual([expected, []])
      },
    )

    it('completed by its handler stays so, whatever that throws', async () => {
      const runs = await runsOf(way, async (_, task) => {
        await task!.complete()
        throw new Error('no luck')
      })
      expect([runs, await fixture.jobs()]).toEqual([1, []])
    })
  })
})

it.each([
  ['in another database', true],
  ['in graphile-worker’s', false],
])(
  'a pool that is not protected, whose monitor is %s, is nothing that a stop waits for',
  async (_, elsewhere) => {
    await using fixture = await Fixture.create({ monitorInMySql: elsewhere })
    const { db } = fixture.monitorDatabase
    if (elsewhere) {
      await sql`create trigger refuse before insert on holdfast_tasks for each row
      signal sqlstate '45000' set message_text = 'refused'`.execute(db)
    } else {
      await sql`create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$`.execute(
        db,
      )
      await sql`create trigger refuse before insert on holdfast_tasks for each row execute function refuse()`.execute(
        db,
      )
    }
    await using worker = await InProcess.of(fixture, {
      ...{ db, monitor, tasks: () => ({ guarded: () => undefined }) },
      ...(elsewhere ? { adapter: { db: fixture.db } } : {}),
    })
    await until(() => (worker.monitor.health().events.unprotected ?? 0) > 1, { what: 'it is tried again' })
    await until(() => worker.monitor.health().inFlight === 0, {
      what: 'nothing is in flight',
      timeout: 10_000,
    })
    await worker.stopsAtOnce()
  },
)

it('a pool whose monitor’s database is away works, unprotected until that is back', async () => {
  await using fixture = await Fixture.create({ monitorInMySql: true })
  const { db } = fixture.monitorDatabase
  await sql`create trigger refuse before insert on holdfast_tasks for each row
    signal sqlstate '45000' set message_text = 'refused'`.execute(db)
  const ran: string[] = []
  await using worker = await InProcess.of(fixture, {
    db,
    adapter: { db: fixture.db },
    monitor,
    tasks: () => ({ guarded: (_, { job }) => void ran.push(job.id) }),
  })
  const id = await fixture.add('guarded')
  await until(async () => (await fixture.jobs()).length === 0)
  expect(ran).toEqual([id])
  await sql`drop trigger refuse`.execute(db)
  await until(async () => (await fixture.tasks()).length === 1)
  await worker.stopsAtOnce()
  expect(await fixture.tasks()).toEqual([])
})
