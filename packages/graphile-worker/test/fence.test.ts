import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type FetchedJob, failJob, giveBackJob, lockOf, removeJob, snapshotJob } from '../src/job-sql.js'
import { inDatabase } from '../src/run.js'
import { graphileTables } from '../src/tables.js'
import { Fixture } from './support/fixture.js'

const tables = graphileTables('graphile_worker')

describe('what a worker writes of a job', () => {
  let fixture: Fixture
  let job: FetchedJob
  beforeEach(async () => {
    fixture = await Fixture.create()
    const id = await fixture.add('guarded', { n: 1 }, { queueName: 'serial', maxAttempts: 3, jobKey: 'k' })
    job = { id, lockId: 'mine', attempts: 2 }
    await sql`update graphile_worker._private_jobs set attempts = 2, locked_by = 'mine', locked_at = now()`.execute(
      fixture.db,
    )
    await sql`update graphile_worker._private_job_queues set locked_by = 'mine', locked_at = now()`.execute(
      fixture.db,
    )
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
    }
    expect(await fixture.jobs()).toEqual(before)
    expect(await fixture.lockedQueues()).toEqual(['serial'])
  })

  it('knows whose a lock is: this fetch’s, another’s of its pool, or nobody’s it has to do with', async () => {
    const lock = (fetched: FetchedJob) => lockOf(inDatabase(fixture.db), tables, fetched)
    expect(await lock(job)).toBe('this')
    expect(await lock({ ...job, attempts: 1 })).toBe('another')
    expect(await lock({ ...job, lockId: 'another' })).toBe('none')
    expect(await lock({ ...job, id: '999' })).toBe('none')
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
