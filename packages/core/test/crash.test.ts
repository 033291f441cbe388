import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture, refs } from './support/fixture.js'
import { dialect } from './support/sql.js'
import { enqueuedRefs, taskRows } from './support/table-queue.js'

describe('a process that dies', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('has its tasks made runnable again exactly once, and is forgotten', async () => {
    const { child, processId } = await fixture.holder({ refs: refs(20) })
    const survivor = await fixture.started()
    await child.kill()
    await until(async () => (await enqueuedRefs(fixture.db)).length >= 20)
    expect(await enqueuedRefs(fixture.db)).toEqual(refs(20))
    await until(async () => (await survivor.stats()).processes.length === 1)
    expect(await taskRows(fixture.db)).toEqual([])
    const { rows } = await sql`
      select queue, job_ref, new_job_ref, from_process, by_process, outcome from holdfast_recoveries
      order by job_ref limit 1`.execute(fixture.db)
    expect(rows).toEqual([
      {
        queue: 'table',
        job_ref: 'job-00000',
        new_job_ref: 'job-00000',
        from_process: processId,
        by_process: survivor.processId,
        outcome: 'requeued',
      },
    ])
  })

  it('tells of each recovery, with the crash count and how long the job was orphaned', async () => {
    const { child } = await fixture.holder({ refs: ['a'] })
    const survivor = await fixture.started()
    const events: unknown[] = []
    survivor.on('recovered', (event) => events.push(event))
    await child.kill()
    await until(() => events.length > 0)
    expect(events).toEqual([
      expect.objectContaining({ queue: 'table', jobRef: 'a', outcome: 'requeued', crashes: 1 }),
    ])
    expect((events[0] as { orphanedForMs: number }).orphanedForMs).toBeGreaterThan(0)
  })

  it('is not found dead before its lease has run out', async () => {
    const { child, processId } = await fixture.holder({ refs: ['a'], monitor: { orphanThreshold: 4_000 } })
    await fixture.started()
    await child.kill()
    const leaseLeft = async () => {
      const { rows } = await sql<{ since: number | string }>`
        select ${dialect.msSince(sql.ref('lease_expires_at'))} as since
        from holdfast_processes where process_id = ${processId} and state = 'alive'`.execute(fixture.db)
      return rows[0] && -Number(rows[0].since)
    }
    let lowest = Number.POSITIVE_INFINITY
    await until(async () => {
      const left = await leaseLeft()
      if (left === undefined) return true
      lowest = Math.min(lowest, left)
      return false
    })
    expect(lowest).toBeLessThan(200)
    await until(async () => (await enqueuedRefs(fixture.db)).length === 1)
  })

  it('leaves nothing behind when its row was deleted by hand', async () => {
    const { child, processId } = await fixture.holder({ refs: refs(3) })
    await fixture.started()
    await child.kill()
    await sql`delete from holdfast_processes where process_id = ${processId}`.execute(fixture.db)
    await until(async () => (await enqueuedRefs(fixture.db)).length === 3)
    expect(await taskRows(fixture.db)).toEqual([])
  })

  it('leaves the tasks of others alone', async () => {
    const { child } = await fixture.holder({ refs: ['dead'] })
    const { child: living } = await fixture.holder({ refs: ['living'] })
    await fixture.started()
    await child.kill()
    await until(async () => (await enqueuedRefs(fixture.db)).length > 0)
    expect(await enqueuedRefs(fixture.db)).toEqual(['dead'])
    living.send('complete')
    expect(await living.message('completed')).toEqual({ type: 'completed', codes: ['ok'] })
  })

  it('with tasks of a queue nobody here knows, keeps those rows and says so', async () => {
    const { child, processId } = await fixture.holder({ refs: ['a'] })
    await sql`update holdfast_tasks set queue = 'elsewhere'`.execute(fixture.db)
    const survivor = await fixture.started()
    const unknown: unknown[] = []
    survivor.on('unknownQueue', (event) => unknown.push(event))
    await child.kill()
    await until(() => unknown.length > 0)
    expect(unknown[0]).toEqual({ queue: 'elsewhere', tasks: 1 })
    expect(await taskRows(fixture.db)).toEqual([expect.objectContaining({ process_id: processId })])
  })
})
