import type { Orphan, RecoveryContext } from '@holdfast/core'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { RENEWAL } from '../src/fetched-job.js'
import type { EndedJob } from '../src/job-sql.js'
import type { TaskPayload } from '../src/payloads.js'
import { expandOrphans, type GraphileJob } from '../src/recovery/expand.js'
import { inDatabase } from '../src/run.js'
import { graphileTables } from '../src/tables.js'
import { Fixture } from './support/fixture.js'

describe('the row of a dead pool', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
    for (let n = 0; n < 4; n++) await fixture.add('guarded')
    await sql`update graphile_worker._private_jobs set attempts = 1, locked_at = now(),
      locked_by = case id when 4 then 'another' else 'dead' end`.execute(fixture.db)
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const orphanOf = (payload: TaskPayload, jobRef: string | null = null): Orphan => ({
    fullId: `dead/${payload.kind}`,
    processId: 'dead',
    taskId: payload.kind,
    nonce: 1,
    queue: 'graphile-worker',
    jobRef,
    payload,
    cause: 'crash',
    onCrash: null,
    orphanedForMs: 0,
  })

  /** @param elsewhere jobs with a row of their own that is not in this batch */
  const expand = async (payloads: TaskPayload[], elsewhere: string[] = []): Promise<unknown[]> => {
    const context = {
      registered: async (jobRefs: readonly string[]) =>
        new Set(jobRefs.filter((jobRef) => elsewhere.includes(jobRef))),
    } as Pick<RecoveryContext, 'registered'> as RecoveryContext
    const jobs = await fixture.db.transaction().execute((trx) =>
      expandOrphans(
        inDatabase(trx),
        graphileTables('graphile_worker'),
        payloads.map((p) => orphanOf(p)),
        context,
      ),
    )
    return jobs.map(({ orphan, jobRef, started, detail }: GraphileJob) => ({
      row: orphan.taskId,
      jobRef,
      ...(started === undefined ? {} : { started }),
      ...(detail.end === undefined ? {} : { end: detail.end }),
    }))
  }

  it('stands for all jobs that its locks hold', async () => {
    expect(await expand([{ kind: 'guard', lockIds: ['dead', 'idle'], marksStarts: false }])).toEqual([
      { row: 'guard', jobRef: '1', started: true },
      { row: 'guard', jobRef: '2', started: true },
      { row: 'guard', jobRef: '3', started: true },
    ])
  })

  it('says of those that are tried again that they had not begun: a row of their own comes first', async () => {
    await sql`update graphile_worker._private_jobs set attempts = 2 where id = 2`.execute(fixture.db)
    expect(await expand([{ kind: 'guard', lockIds: ['dead'], marksStarts: false }])).toEqual([
      { row: 'guard', jobRef: '1', started: true },
      { row: 'guard', jobRef: '2', started: false },
      { row: 'guard', jobRef: '3', started: true },
    ])
  })

  it('leaves out those that have a row of their own, beside it or anywhere else', async () => {
    const guard = { kind: 'guard', lockIds: ['dead'], marksStarts: true } as const
    expect(await expand([{ kind: 'started', jobId: '1', lockId: 'dead' }, guard], ['3'])).toEqual([
      { row: 'started', jobRef: '1' },
      { row: 'guard', jobRef: '2', started: false },
    ])
  })

  it('tells how jobs had ended that graphile-worker had not written yet, but not of an earlier run', async () => {
    const one = await fixture.fetchOf('1')
    const two = { ...one, id: '2', failure: 'no luck' }
    const earlier = { ...one, id: '3', attempts: 0 }
    const guard = { kind: 'guard', lockIds: ['dead'] } as const
    expect(await expand([{ ...guard, marksStarts: false, ended: [one, two, earlier] }])).toEqual([
      { row: 'guard', jobRef: '1', started: true, end: one },
      { row: 'guard', jobRef: '2', started: true, end: two },
      { row: 'guard', jobRef: '3', started: true },
    ])
    expect(await expand([{ ...guard, marksStarts: true, ended: [one, two] }])).toEqual([
      { row: 'guard', jobRef: '1', started: true, end: one },
      { row: 'guard', jobRef: '2', started: true, end: two },
      { row: 'guard', jobRef: '3', started: false },
    ])
  })

  it('nor of a run before the job’s attempts were set back; but of one whose lock was made younger', async () => {
    const { lockedAt, ...fetch } = await fixture.fetchOf('1')
    const ended = [
      { ...fetch, lockedAt: lockedAt - 3_000, failure: 'earlier' },
      { ...fetch, id: '2', lockedAt: lockedAt - 2 * RENEWAL, renewals: 2, failure: 'no luck' },
    ]
    const { lockedAt: _, ...old } = { ...fetch, id: '3', lockedAt }
    const guard = { kind: 'guard', lockIds: ['dead'], marksStarts: false } as const
    expect(await expand([{ ...guard, ended: [...ended, old as EndedJob] }])).toEqual([
      { row: 'guard', jobRef: '1', started: true },
      { row: 'guard', jobRef: '2', started: true, end: ended[1] },
      // An older version says no time.
      { row: 'guard', jobRef: '3', started: true, end: old },
    ])
  })

  it('frees the named queues that its locks hold, those too of which no job is left', async () => {
    await sql`insert into graphile_worker._private_job_queues (queue_name, locked_by, locked_at)
      values ('left locked', 'dead', now()), ('of another', 'another', now())`.execute(fixture.db)
    await expand([{ kind: 'guard', lockIds: ['dead'], marksStarts: false }])
    expect(await fixture.lockedQueues()).toEqual(['of another'])
  })
})
