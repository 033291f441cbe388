import { patience, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isTen } from './support/boss.js'
import { Fixture } from './support/fixture.js'

describe('beside pg-boss’s own expiry', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  /** pg-boss's upkeep, by whoever comes to it. */
  const upkeep = async (): Promise<unknown> => fixture.boss.maintain?.() ?? fixture.boss.supervise?.('q')

  it('a job that pg-boss expires before the monitor knows runs once more, and not twice', async () => {
    const victim = await fixture.worker()
    const ids: string[] = []
    for (let n = 0; n < 4; n++) ids.push(await fixture.add({ gate: 'open' }))
    await fixture.started(4)
    await victim.kill()
    await sql`update pgboss.job set started_on = now() - interval '1 hour'`.execute(fixture.db)
    await sql`update pgboss.queue set ${sql.raw(isTen ? 'updated_on = now()' : 'monitor_claim_on = null')}`.execute(
      fixture.db,
    )
    await upkeep()
    await fixture.inState('retry', 4)
    await fixture.worker()
    await fixture.started(8)
    await fixture.openGate('open')
    await fixture.inState('completed', 4)
    await fixture.settled()
    const starts = (await fixture.ledger('start')).map(({ job }) => job)
    expect(starts.sort()).toEqual([...ids, ...ids].sort())
    for (const job of await fixture.jobs()) expect(job).toMatchObject({ retry_count: 1 })
  })

  it('a job that runs for longer than expireInSeconds is told, and its late end does not count', async () => {
    const worker = await fixture.worker({ workers: 2, monitor: { orphanThreshold: 10_000 } })
    const id = await fixture.add({ gate: 'late', deaf: true }, { expireInSeconds: 1 })
    await worker.message('taskOverdue')
    // pg-boss 10 has failed it by its own clock; 12 also holds this worker until the handler ends.
    await fixture.started(2)
    expect((await fixture.ledger('start')).map(({ job }) => job)).toEqual([id, id])
    await fixture.openGate('late')
    await fixture.finished(2)
    await fixture.settled()
    await until(async () =>
      (await fixture.jobs()).every(({ state }) => ['completed', 'retry', 'failed'].includes(state)),
    )
    expect((await fixture.crashes()).length).toBe(0)
  })

  it('#250: a job of a dead process that pg-boss never expires, for want of upkeep, is settled all the same', async () => {
    const victim = await fixture.worker()
    const id = await fixture.add({ gate: 'never' }, { retryLimit: 0, priority: 10 })
    await fixture.started(1)
    const survivor = await fixture.worker()
    await victim.kill()
    await survivor.message('quarantined')
    const reason = 'Worker process died while running this job, on its last attempt (1 of 1)'
    expect(await fixture.job(id)).toMatchObject({ state: 'failed', output: { message: reason } })
    expect(await fixture.quarantine()).toMatchObject([{ reason }])
    expect(await fixture.ledger('start')).toHaveLength(1)
  })

  it('#208: a handler that ends its process has its job tried again, and is stopped by the cap', async () => {
    const id = await fixture.add({ kill: true }, { retryLimit: 9 })
    const monitor = { maxRecoveries: 1, recoveryBackoff: 10 }
    for (let n = 1; n <= 2; n++) {
      const worker = await fixture.worker({ monitor })
      await worker.exited
      expect(await fixture.ledger('start')).toHaveLength(n)
    }
    await fixture.worker({ monitor })
    await fixture.inState('failed', 1)
    const reason = expect.stringContaining(
      'in flight in 2 dying processes, more than maxRecoveries (1) allows',
    )
    expect(await fixture.job(id)).toMatchObject({
      state: 'failed',
      retry_limit: 9,
      output: { message: reason },
    })
    expect(await fixture.ledger('start')).toHaveLength(2)
  })

  it.runIf(!isTen)(
    '#436: a heartbeat of pg-boss 12 is kept up while the handler runs, and is no hindrance',
    async () => {
      const victim = await fixture.worker()
      const id = await fixture.add({ gate: 'open' }, { heartbeatSeconds: 10 })
      await fixture.started(1)
      const survivor = await fixture.worker()
      const killed = performance.now()
      await victim.kill()
      await fixture.started(2)
      expect(performance.now() - killed).toBeLessThan(patience(10_000))
      await fixture.openGate('open')
      await fixture.inState('completed', 1)
      await fixture.settled()
      expect(await fixture.job(id)).toMatchObject({ retry_count: 1 })
      expect((await fixture.ledger('finish')).map(({ pid }) => pid)).toEqual([survivor.pid])
    },
  )
})
