import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'
import { hasLocalQueue } from './support/graphile.js'

describe('a worker process that is killed', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it('has guarded and handed-off jobs run again, each exactly once', async () => {
    const victim = await fixture.worker({ concurrency: 25 })
    for (let n = 0; n < 10; n++) {
      await fixture.add('guarded', { gate: 'open' })
      await fixture.add('handed', { gate: 'open' })
    }
    await fixture.started(20)
    await until(async () => (await fixture.jobs()).length === 10, {
      what: 'handed-off jobs are gone from graphile',
    })
    const survivor = await fixture.worker({ concurrency: 25 })
    await victim.kill()
    await fixture.started(40)
    await fixture.openGate('open')
    await fixture.finished(20)
    await until(async () => (await fixture.jobs()).length === 0)
    await until(async () => (await fixture.tasks()).length === 1, {
      what: 'only the survivor’s guard is left',
    })

    const starts = await fixture.ledger('start')
    expect(starts.filter(({ pid }) => pid === victim.pid)).toHaveLength(20)
    expect(starts.filter(({ pid }) => pid === survivor.pid)).toHaveLength(20)
    const finishes = await fixture.ledger('finish')
    expect(finishes).toHaveLength(20)
    expect(new Set(finishes.map(({ job }) => job)).size).toBe(20)
    expect(new Set(finishes.map(({ attempts }) => attempts))).toEqual(new Set([2]))
  })

  it('without Holdfast would have kept them locked', async () => {
    const victim = await fixture.worker({ plain: true })
    await fixture.add('guarded', { gate: 'open' })
    await fixture.started(1)
    await fixture.worker({ plain: true })
    await victim.kill()
    await fixture.add('guarded')
    await fixture.finished(1)
    await until(async () => (await fixture.jobs()).length === 1, { what: 'only the victim’s job is left' })
    expect(await fixture.jobs()).toMatchObject([{ lockedBy: expect.any(String), available: false }])
  })

  it('frees its named queue, in order, and nothing of it runs meanwhile', async () => {
    const victim = await fixture.worker()
    const first = await fixture.add('guarded', { gate: 'open' }, { queueName: 'serial' })
    const second = await fixture.add('guarded', {}, { queueName: 'serial' })
    await fixture.started(1)
    const survivor = await fixture.worker()
    await victim.kill()
    await fixture.started(2)
    expect((await fixture.ledger()).map(({ job, pid }) => [job, pid])).toEqual([
      [first, victim.pid],
      [first, survivor.pid],
    ])
    await fixture.openGate('open')
    await fixture.finished(2)
    expect((await fixture.ledger('finish')).map(({ job }) => job)).toEqual([first, second])
    await until(async () => (await fixture.lockedQueues()).length === 0)
  })

  it('leaves a job on its last attempt failed visibly, never silently, and never run again', async () => {
    const victim = await fixture.worker()
    await fixture.add('guarded', { gate: 'never' }, { maxAttempts: 1 })
    await fixture.add('handed', { gate: 'never' }, { maxAttempts: 1 })
    await fixture.started(2)
    await until(async () => (await fixture.jobs()).length === 1)
    const survivor = await fixture.worker()
    await victim.kill()
    await until(async () => (await fixture.jobs()).filter(({ lastError }) => lastError !== null).length === 2)
    const reason = 'Worker process died while running this job, on its last attempt (1 of 1)'
    for (const job of await fixture.jobs()) {
      expect(job).toMatchObject({
        attempts: 1,
        maxAttempts: 1,
        lockedBy: null,
        lastError: reason,
        available: false,
      })
    }
    const { rows } = await sql`select reason from holdfast_quarantine`.execute(fixture.db)
    expect(rows).toEqual([{ reason }, { reason }])
    // Told after the commit, so a moment later than the rows are seen.
    const told = () => survivor.messages.filter((m) => (m as { type: string }).type === 'quarantined')
    await until(async () => told().length >= 2)
    expect(told()).toHaveLength(2)
    expect(await fixture.ledger('start')).toHaveLength(2)
  })

  it.runIf(hasLocalQueue)(
    'gives back the attempt of jobs that it had fetched ahead (since 0.17) and not begun',
    async () => {
      const preset = { worker: { localQueue: { size: 6 } } }
      const victim = await fixture.worker({ concurrency: 2, preset })
      await sql`select graphile_worker.add_jobs(array(
      select ('guarded', '{"gate":"open"}', null, null, 1, null, null, null)::graphile_worker.job_spec
      from generate_series(1, 6)))`.execute(fixture.db)
      await fixture.started(2)
      await until(async () => (await fixture.jobs()).filter(({ lockedBy }) => lockedBy !== null).length >= 3)
      const begun = new Set((await fixture.ledger('start')).map(({ job }) => job))
      const held = (await fixture.jobs()).filter(({ lockedBy }) => lockedBy !== null).length
      expect(held).toBeGreaterThan(2)
      await fixture.worker()
      await victim.kill()
      await fixture.started(6)
      await fixture.openGate('open')
      await fixture.finished(4)
      await until(async () => (await fixture.jobs()).length === 2)
      const left = await fixture.jobs()
      expect(new Set(left.map(({ id }) => id))).toEqual(begun)
      for (const job of left) expect(job.lastError).toContain('on its last attempt (1 of 1)')
    },
  )

  it('has a handed-off job come back with all that it was', async () => {
    const payload = '{"gate":"open", "big":12345678901234567890, "nul":"\\u0000", "lone":"\\ud800", "e":1.50}'
    const victim = await fixture.worker()
    await sql`select graphile_worker.add_job('handed', ${payload}::json, queue_name => 'hq', max_attempts => 7,
      job_key => 'hk', priority => -7, flags => array['f1', 'f2'], run_at => now() - interval '1 hour')`.execute(
      fixture.db,
    )
    await fixture.started(1)
    await until(async () => (await fixture.jobs()).length === 0)
    await victim.kill()
    // A survivor without a worker: the job stays to be looked at.
    const survivor = await fixture.worker({ concurrency: 1, preset: { worker: {} } })
    await until(async () => (await fixture.ledger('start')).length === 2)
    await survivor.message('recovered')
    const { rows } = await sql<{
      payload: string
    }>`select payload from holdfast_tasks where payload like '%handOff%'`.execute(fixture.db)
    const { job } = JSON.parse(rows[0]!.payload)
    expect(job).toMatchObject({
      identifier: 'handed',
      payload,
      queueName: 'hq',
      priority: -7,
      attempts: 2,
      maxAttempts: 7,
      key: 'hk',
      flags: ['f1', 'f2'],
    })
    expect(Date.parse(job.runAt)).toBeLessThan(Date.now() - 3_500_000)
    await fixture.openGate('open')
    await fixture.finished(1)
  })

  it('leaves a job to whoever has taken it meanwhile', async () => {
    const victim = await fixture.worker()
    const id = await fixture.add('tracked', { gate: 'never' })
    await fixture.started(1)
    // As graphile-worker's rule of four hours, or a person, may have it.
    await sql`update graphile_worker._private_jobs set locked_by = 'another', attempts = 2`.execute(
      fixture.db,
    )
    const survivor = await fixture.worker()
    await victim.kill()
    expect(await survivor.message('recovered')).toMatchObject({ jobRef: id, outcome: 'alreadyThere' })
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({ id, lockedBy: 'another', attempts: 2, lastError: null }),
    ])
  })

  it('has no effect twice that was committed together with the end of its job', async () => {
    const preset = { worker: { completeJobBatchDelay: 60_000 } }
    const victim = await fixture.worker({ preset })
    for (let n = 0; n < 3; n++) await fixture.add('handed', { inTransaction: 'never' })
    await until(async () => (await fixture.ledger('effect')).length === 3)
    const survivor = await fixture.worker()
    await victim.kill()
    await until(async () => (await fixture.tasks()).length === 1, { what: 'the dead pool’s row is gone' })
    const proof = await fixture.add('guarded')
    await until(async () => (await fixture.ledger('finish')).some(({ job }) => job === proof))
    expect(await fixture.ledger('effect')).toHaveLength(3)
    expect((await fixture.ledger()).filter(({ pid }) => pid === survivor.pid).map(({ job }) => job)).toEqual([
      proof,
      proof,
    ])
  })

  it('does not count a finished job of a pool that fetches ahead as one that had not begun', async () => {
    const preset = {
      worker: { localQueue: { size: 4 }, completeJobBatchDelay: 60_000, failJobBatchDelay: 60_000 },
    }
    const victim = await fixture.worker({ concurrency: 4, preset })
    await fixture.add('guarded', {}, { maxAttempts: 1 })
    await fixture.add('guarded', { fail: 'no luck' }, { maxAttempts: 1 })
    await fixture.started(2)
    await until(async () => (await fixture.jobs()).length === 1 && (await fixture.tasks()).length === 1)
    await fixture.worker()
    await victim.kill()
    await until(async () =>
      (await fixture.tasks()).every(({ processId }) => !processId.includes(`:${victim.pid}:`)),
    )
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({ attempts: 1, lastError: 'no luck', available: false, lockedBy: null }),
    ])
    expect(await fixture.ledger('start')).toHaveLength(2)
  })
})
