import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type FetchedJob, isLockTime, RENEWAL, readLockedAt } from '../src/fetched-job.js'
import { failJob, giveBackJob, keepLocks, lockOf, removeJob, snapshotJob } from '../src/job-sql.js'
import { inDatabase } from '../src/run.js'
import { graphileTables } from '../src/tables.js'
import { Fixture } from './support/fixture.js'

const tables = graphileTables('graphile_worker')

describe('what a worker writes of a job', () => {
  let fixture: Fixture
  let job: FetchedJob & { readonly lockedAt: number }
  beforeEach(async () => {
    fixture = await Fixture.create()
    const id = await fixture.add('guarded', { n: 1 }, { queueName: 'serial', maxAttempts: 3, jobKey: 'k' })
    await sql`update graphile_worker._private_jobs set attempts = 2, locked_by = 'mine',
      locked_at = now() - interval '210 seconds', updated_at = now() - interval '1 hour'`.execute(fixture.db)
    await sql`update graphile_worker._private_job_queues set locked_by = 'mine', locked_at = now()`.execute(
      fixture.db,
    )
    job = await fixture.fetchOf(id)
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  /** Each answers whether it found the job. */
  const writes = {
    removeJob: (fetched: FetchedJob) => removeJob(inDatabase(fixture.db), tables, fetched),
    failJob: (fetched: FetchedJob) => failJob(inDatabase(fixture.db), tables, fetched, 'no luck'),
    giveBackJob: async (fetched: FetchedJob) => {
      await giveBackJob(inDatabase(fixture.db), tables, fetched)
      return (await fixture.jobs()).some(({ lockedBy }) => lockedBy === null)
    },
    lockOf: async (fetched: FetchedJob) => (await lockOf(inDatabase(fixture.db), tables, fetched)) === 'this',
    snapshotJob: async (fetched: FetchedJob) =>
      (await snapshotJob(inDatabase(fixture.db), tables, fetched)) !== undefined,
  }
  const names = Object.keys(writes) as (keyof typeof writes)[]

  it.each(names)('is for the fetch that it holds (%s)', async (name) => {
    expect(await writes[name](job)).toBe(true)
  })

  it('touches neither the job nor its queue when another has them, or its own pool has fetched it again', async () => {
    const before = await fixture.jobs()
    for (const name of names) {
      expect([name, await writes[name]({ ...job, lockId: 'another' })]).toEqual([name, false])
      // Since 0.17 all fetches of a pool have the same lock.
      expect([name, await writes[name]({ ...job, attempts: 1 })]).toEqual([name, false])
      // Nor do the attempts tell, once they were given back or set anew with a job that is added again under its key.
      for (const ms of [-1, 1, -RENEWAL, RENEWAL]) {
        const fetched = { ...job, lockedAt: job.lockedAt + ms }
        expect([name, ms, await writes[name](fetched)]).toEqual([name, ms, false])
      }
    }
    expect(await fixture.jobs()).toEqual(before)
    expect(await fixture.lockedQueues()).toEqual(['serial'])
  })

  it('knows whose a lock is: this fetch’s, another’s of its pool, or nobody’s it has to do with', async () => {
    const lock = (fetched: FetchedJob) => lockOf(inDatabase(fixture.db), tables, fetched)
    expect(await lock(job)).toBe('this')
    const { id, lockId, attempts, lockedAt } = job
    const another = { id, lockId, attempts, lockedAt, renewals: 0 }
    expect(await lock({ ...job, attempts: 1 })).toEqual(another)
    expect(await lock({ ...job, lockedAt: job.lockedAt - 1 })).toEqual(another)
    expect(await lock({ ...job, lockId: 'another' })).toBe('none')
    expect(await lock({ ...job, id: '999' })).toBe('none')
  })

  it.each(names)(
    'is for a fetch whose lock was made younger, although nobody heard of it (%s)',
    async (name) => {
      // Counted before it is sent: that of the first was answered, that of the third nobody knows of.
      const run = inDatabase(fixture.db)
      await keepLocks(run, tables, [{ ...job, renewals: 1 }])
      await keepLocks(run, tables, [{ ...job, renewals: 3 }])
      expect((await fixture.fetchOf(job.id)).lockedAt).toBe(job.lockedAt + 3 * RENEWAL)
      expect(await writes.lockOf({ ...job, renewals: 2 })).toBe(false)
      // No lock is younger than its time, whatever its worker thinks.
      await keepLocks(run, tables, [{ ...job, renewals: 9 }])
      expect((await fixture.fetchOf(job.id)).lockedAt).toBe(job.lockedAt + 3 * RENEWAL)
      expect(await writes[name]({ ...job, renewals: 9 })).toBe(true)
    },
  )

  it('is for a fetch whose lock was to be made younger, where that came to nothing', async () => {
    expect(await writes.lockOf({ ...job, renewals: 3 })).toBe(true)
  })

  it('does without the time where that could not be read', async () => {
    expect(await writes.lockOf({ ...job, lockedAt: null })).toBe(true)
    expect(await writes.lockOf({ ...job, lockedAt: null, attempts: 1 })).toBe(false)
    await keepLocks(inDatabase(fixture.db), tables, [{ ...job, lockedAt: null, renewals: 1 }])
    expect((await fixture.fetchOf(job.id)).lockedAt).toBeGreaterThan(job.lockedAt)
  })

  it('waits for no transaction that is just ending the job, when its lock is to be made younger', async () => {
    await fixture.db.transaction().execute(async (trx) => {
      expect(await removeJob(inDatabase(trx), tables, job)).toBe(true)
      await keepLocks(inDatabase(fixture.db), tables, [{ ...job, renewals: 1 }])
    })
    expect(await fixture.jobs()).toEqual([])
  })

  it('is for a job, too, whose attempts were taken away because a newer one has its key', async () => {
    await sql`select graphile_worker.remove_job('k')`.execute(fixture.db)
    expect(await fixture.jobs()).toMatchObject([{ attempts: 3, lockedBy: 'mine' }])
    expect(await writes.lockOf(job)).toBe(true)
    await writes.giveBackJob(job)
    expect(await fixture.jobs()).toMatchObject([{ attempts: 3, lockedBy: null, available: false }])
    expect(await fixture.lockedQueues()).toEqual([])
  })
})

describe('when a job was locked', () => {
  const at = Date.UTC(2026, 10, 1, 12, 0, 0, 70)

  it('is read from what graphile-worker says, also where the user has times as text', () => {
    expect(readLockedAt(new Date(at))).toBe(at)
    for (const text of [
      '2026-11-01 12:00:00.070283+00',
      '2026-11-01 13:30:00.0709+01:30',
      '2026-11-01T12:00:00.070Z',
    ]) {
      expect([text, readLockedAt(text)]).toEqual([text, at])
    }
  })

  it('is not taken from what may have been rounded', () => {
    for (const given of [
      null,
      undefined,
      at,
      '2026-11-01 12:00:00+00',
      'infinity',
      {},
      new Date(Number.NaN),
    ]) {
      expect(readLockedAt(given)).toBeNull()
    }
  })

  it('is told by whole steps', () => {
    const fits = (ms: number) => isLockTime({ lockedAt: at, renewals: 2 }, at + ms)
    expect([-RENEWAL, -1, 0, 1, RENEWAL, 2 * RENEWAL, 3 * RENEWAL].map(fits)).toEqual([
      ...[false, false, true, false, true, true, false],
    ])
    expect(isLockTime({ lockedAt: at }, at + RENEWAL)).toBe(false)
    expect(isLockTime({ lockedAt: at }, null)).toBe(false)
    // Rows of older versions say no time.
    expect(isLockTime({}, at)).toBe(true)
  })
})
