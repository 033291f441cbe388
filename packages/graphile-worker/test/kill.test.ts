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
