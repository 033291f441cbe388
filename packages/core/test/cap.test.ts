import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'
import { enqueuedRefs, tableQueueAdapter, taskRows } from './support/table-queue.js'

describe('a job that keeps crashing', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('is recovered maxRecoveries times, then stands in quarantine with a reason', async () => {
    const survivor = await fixture.started({ maxRecoveries: 2 })
    const quarantined: unknown[] = []
    survivor.on('quarantined', (event) => quarantined.push(event))
    for (let crash = 1; crash <= 3; crash++) {
      await sql`delete from jobs`.execute(fixture.db)
      const { child } = await fixture.holder({ refs: ['killer'] })
      await child.kill()
      await until(async () => (await taskRows(fixture.db)).length === 0)
      const { rows } = await sql`select job_ref, count from holdfast_crashes`.execute(fixture.db)
      expect(rows).toEqual([{ job_ref: 'killer', count: crash }])
    }
    expect(await enqueuedRefs(fixture.db)).toEqual(['killer', 'killer'])
    const { rows } = await sql`
      select queue, job_ref, payload, reason, crashes from holdfast_quarantine`.execute(fixture.db)
    expect(rows).toEqual([
      {
        queue: 'table',
        job_ref: 'killer',
        payload: '{"jobRef":"killer"}',
        reason: 'in flight in 3 dying processes, more than maxRecoveries (2) allows',
        crashes: 3,
      },
    ])
    expect(quarantined).toEqual([expect.objectContaining({ jobRef: 'killer', crashes: 3 })])
  })

  it('with maxRecoveries 0 is never run again', async () => {
    await fixture.started({ maxRecoveries: 0 })
    const { child } = await fixture.holder({ refs: ['once'] })
    await child.kill()
    await until(
      async () => (await sql`select 1 from holdfast_quarantine`.execute(fixture.db)).rows.length === 1,
    )
    expect(await enqueuedRefs(fixture.db)).toEqual([])
  })
})

describe('a job whose recovery fails', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('is kept with the error and tried again, while the others of its batch go on', async () => {
    const failing = new Set(['c'])
    const survivor = await fixture.started({ adapters: [tableQueueAdapter({ failing })] })
    const failures: { jobRef: string | null; attempts: number }[] = []
    survivor.on('recoveryFailed', (event) => failures.push(event))
    const { child } = await fixture.holder({ refs: ['a', 'b', 'c', 'd', 'e'] })
    await child.kill()
    await until(async () => (await enqueuedRefs(fixture.db)).length === 4)
    expect(await enqueuedRefs(fixture.db)).toEqual(['a', 'b', 'd', 'e'])
    const { rows } = await sql`select job_ref, attempts, last_error from holdfast_tasks`.execute(fixture.db)
    expect(rows).toEqual([{ job_ref: 'c', attempts: 1, last_error: 'the queue refuses c' }])
    expect(failures).toEqual([expect.objectContaining({ jobRef: 'c', attempts: 1 })])

    failing.clear()
    await until(async () => (await enqueuedRefs(fixture.db)).length === 5)
    expect(
      (await sql`select count from holdfast_crashes where job_ref = 'c'`.execute(fixture.db)).rows,
    ).toEqual([{ count: 1 }])
  })

  it('with an error that no text column takes is kept too, and holds up nobody', async () => {
    const broken = { ...tableQueueAdapter(), recover: () => Promise.reject(new Error('odd \0 text')) }
    const { child } = await fixture.holder({ refs: ['a'] })
    const survivor = await fixture.started({ adapters: [broken] })
    await child.kill()
    await until(() => (survivor.health().events.recoveryFailed ?? 0) > 0)
    const { rows } = await sql`select job_ref, last_error from holdfast_tasks`.execute(fixture.db)
    expect(rows).toEqual([{ job_ref: 'a', last_error: 'odd \ufffd text' }])
  })

  it('goes to quarantine when its payload can no longer be read', async () => {
    const { child } = await fixture.holder({ refs: ['a', 'b'] })
    await sql`update holdfast_tasks set payload = '{broken' where job_ref = 'a'`.execute(fixture.db)
    await fixture.started()
    await child.kill()
    await until(async () => (await taskRows(fixture.db)).length === 0)
    expect(await enqueuedRefs(fixture.db)).toEqual(['b'])
    const { rows } = await sql`select job_ref, payload, reason from holdfast_quarantine`.execute(fixture.db)
    expect(rows).toEqual([
      { job_ref: 'a', payload: '{broken', reason: 'The stored payload is not JSON: "{broken"' },
    ])
  })
})
