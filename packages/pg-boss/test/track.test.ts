import { TaskLostError, TaskMonitor } from '@holdfast/core'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type PgBossAdapter, pgBossAdapter } from '../src/index.js'
import { isTen } from './support/boss.js'
import { Fixture } from './support/fixture.js'

// pg-boss fetches, and what it would call is called here: only what Holdfast does is seen.
describe('a tracked job', () => {
  let fixture: Fixture
  let adapter: PgBossAdapter
  let monitor: TaskMonitor
  beforeAll(async () => {
    fixture = await Fixture.create()
    const { boss, db } = fixture
    adapter = pgBossAdapter({ boss, db })
    monitor = new TaskMonitor({ db, adapters: [adapter] })
    await monitor.start()
  })
  afterEach(() => fixture.empty(['dead']))
  afterAll(async () => {
    await monitor.stop({ drain: 0 })
    await fixture[Symbol.asyncDispose]()
  })

  const fetch = async (size = 1): Promise<never[]> =>
    (await fixture.boss.fetch('q', { batchSize: size })) as never[]
  const states = async (): Promise<string[]> => (await fixture.jobs()).map(({ state }) => state)

  it('has its row while it runs, and ends in pg-boss with it', async () => {
    const id = await fixture.add({ n: 1 })
    const seen: unknown[] = []
    await adapter.track(async ([job]) => {
      seen.push(
        job!.data,
        job!.task.jobRef,
        job!.signal.aborted,
        (await fixture.tasks()).length,
        await states(),
      )
      return { answer: 42 }
    })(await fetch())
    expect(seen).toEqual([{ n: 1 }, `q/${id}`, false, 1, ['active']])
    expect(await fixture.job(id)).toMatchObject({ state: 'completed', output: { answer: 42 } })
    expect(await fixture.tasks()).toEqual([])
  })

  it('whose handler throws is retried by its own rules', async () => {
    const id = await fixture.add({}, { retryDelay: 60 })
    const failing = adapter.track(() => Promise.reject(new TypeError('broken')))(await fetch())
    // Told to pg-boss 12, which writes nothing more; 10 would.
    if (isTen) await failing
    else await expect(failing).rejects.toThrow('broken')
    const output = expect.objectContaining({ name: 'TypeError', message: 'broken' })
    expect(await fixture.job(id)).toMatchObject({ state: 'retry', due: false, output })
    expect(await fixture.tasks()).toEqual([])
  })

  it('in a batch has a row of its own', async () => {
    for (let n = 0; n < 3; n++) await fixture.add()
    await adapter.track(async (jobs) => {
      expect(jobs).toHaveLength(3)
      expect(await fixture.tasks()).toHaveLength(3)
      await jobs[1]!.task.complete()
      expect(await states()).toEqual(expect.arrayContaining(['active', 'active', 'completed']))
    })(await fetch(3))
    expect(await states()).toEqual(['completed', 'completed', 'completed'])
    expect(await fixture.tasks()).toEqual([])
  })

  it('commits its effects with its end, or neither', async () => {
    const id = await fixture.add()
    await adapter.track(async ([job]) => {
      const attempt = fixture.db.transaction().execute(async (trx) => {
        await sql`insert into ledger (what) values ('effect')`.execute(trx)
        await job!.task.complete({ trx })
        throw new Error('rolled back')
      })
      await expect(attempt).rejects.toThrow('rolled back')
      expect([await states(), await fixture.ledger('effect')]).toEqual([['active'], []])
      await fixture.db.transaction().execute(async (trx) => {
        await sql`insert into ledger (what) values ('effect')`.execute(trx)
        await job!.task.complete({ trx })
      })
      expect(await states()).toEqual(['completed'])
    })(await fetch())
    expect(await fixture.tasks()).toEqual([])
    expect(await fixture.ledger('effect')).toHaveLength(1)
    expect(await fixture.job(id)).toMatchObject({ state: 'completed' })
  })

  it('that was cancelled meanwhile stays so, and its effects are refused', async () => {
    const id = await fixture.add()
    await adapter.track(async ([job]) => {
      await fixture.boss.cancel('q', id)
      const attempt = fixture.db.transaction().execute((trx) => job!.task.complete({ trx }))
      await expect(attempt).rejects.toSatisfy((error) => TaskLostError.is(error))
    })(await fetch())
    expect(await fixture.job(id)).toMatchObject({ state: 'cancelled' })
    expect(await fixture.tasks()).toEqual([])
  })

  it('whose handler ended it in pg-boss itself stays so', async () => {
    const id = await fixture.add()
    await adapter.track(async ([job]) => {
      await fixture.boss.fail('q', job!.id, { by: 'hand' })
    })(await fetch())
    expect(await fixture.job(id)).toMatchObject({ state: 'retry', output: { by: 'hand' } })
  })

  it('that is too large to be registered fails alone', async () => {
    const large = await fixture.add({ text: 'x'.repeat(2_000_000) })
    const small = await fixture.add()
    const hands: string[] = []
    await adapter.handOff((job) => void hands.push(job.id), { concurrency: 5 })(await fetch(2))
    await expect.poll(() => hands).toEqual([small])
    expect(await fixture.job(large)).toMatchObject({
      state: 'retry',
      output: { name: 'PayloadTooLargeError' },
    })
  })

  it('whose output or failure the database refuses fails all the same, and alone', async () => {
    const ids: string[] = []
    for (let n = 0; n < 2; n++) ids.push(await fixture.add({}, { retryDelay: 60 }))
    const broken = adapter.track(async () => ({ text: 'a\0b', big: 1 }))
    await broken(await fetch())
    expect(await fixture.job(ids[0]!)).toMatchObject({
      state: 'retry',
      output: { message: expect.stringMatching(/unicode/i) },
    })
    const half = adapter.track(() => Promise.reject(new Error('half \ud83d and \0')))
    await half(await fetch()).catch(() => undefined) // Told to pg-boss 12.
    const message = 'half \ufffd and \ufffd'
    expect(await fixture.job(ids[1]!)).toMatchObject({ state: 'retry', output: { name: 'Error', message } })
    expect(await fixture.tasks()).toEqual([])
    const id = await fixture.add({}, { retryDelay: 60 })
    await adapter.track(async () => ({ big: 1n }))(await fetch())
    // 12 writes it as a text.
    const ten = { state: 'retry', output: { name: 'TypeError' } }
    expect(await fixture.job(id)).toMatchObject(isTen ? ten : { state: 'completed' })
  })

  it('that has killed its processes begins after the others of its batch, by itself', async () => {
    const ids: string[] = []
    for (let n = 0; n < 3; n++) ids.push(await fixture.add())
    await sql`insert into holdfast_crashes (queue, job_ref, count, last_crash_at)
      values ('pg-boss', ${`q/${ids[1]}`}, 2, now())`.execute(fixture.db)
    const batches: string[][] = []
    const fetched = await fetch(3)
    await adapter.track(async (jobs) => void batches.push(jobs.map(({ id }) => id)))(fetched)
    const others = (fetched as { id: string }[]).map(({ id }) => id).filter((id) => id !== ids[1])
    expect(batches).toEqual([others, [ids[1]]])
    expect(await states()).toEqual(['completed', 'completed', 'completed'])
  })

  it.runIf(!isTen)('of a worker with perJobResults (since 12) ends as its handler says', async () => {
    await fixture.boss.createQueue('dead', { name: 'dead' })
    const ids: string[] = []
    for (let n = 0; n < 4; n++) ids.push(await fixture.add({ n }, { deadLetter: 'dead' }))
    const [good, bad, dead, forgotten] = ids as [string, string, string, string]
    const results = [
      { id: good, status: 'completed', output: { a: 1 } },
      { id: bad, status: 'failed', output: { b: 1 } },
      { id: dead, status: 'deadletter', output: { c: 1 } },
    ]
    expect(await adapter.track(async () => results, { perJobResults: true })(await fetch(4))).toBe(results)
    expect(await fixture.job(good)).toMatchObject({ state: 'completed', output: { a: 1 } })
    expect(await fixture.job(bad)).toMatchObject({ state: 'retry', output: { b: 1 } })
    expect(await fixture.job(dead)).toMatchObject({ state: 'failed', retry_limit: 2, output: { c: 1 } })
    const output = { message: 'The handler did not say how this job ended.' }
    expect(await fixture.job(forgotten)).toMatchObject({ state: 'retry', output })
    expect(await fixture.jobs('dead')).toMatchObject([{ data: { n: 2 } }])
  })

  it.runIf(!isTen)('of a transactional worker (of 12) ends with what pg-boss commits', async () => {
    const work = async (fail: boolean): Promise<void> => {
      const id = await fixture.add({}, { retryLimit: 0 })
      await fixture.boss.work(
        'q',
        { transactional: true, pollingIntervalSeconds: 0.5 },
        adapter.track(async ([job], tx) => {
          await tx.executeSql('insert into ledger (what, job) values ($1, $2)', ['effect', job!.id])
          if (fail) throw new Error('rolled back')
        }) as never,
      )
      await expect.poll(() => states()).toContainEqual(fail ? 'failed' : 'completed')
      await fixture.boss.offWork('q')
      expect((await fixture.ledger('effect')).filter(({ job }) => job === id)).toHaveLength(fail ? 0 : 1)
      await fixture.settled()
    }
    await work(false)
    await work(true)
  })
})
