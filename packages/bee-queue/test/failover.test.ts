import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'
import { PrivateRedis } from './support/private-redis.js'
import { TcpSwitch } from './support/tcp-switch.js'

describe('Redis that fails over to a replica while jobs run', () => {
  let master: PrivateRedis
  let replica: PrivateRedis
  let address: TcpSwitch
  let fixture: Fixture
  beforeEach(async () => {
    master = await PrivateRedis.create()
    replica = await PrivateRedis.create()
    await replica.command('replicaof', '127.0.0.1', master.server.port)
    await until(async () =>
      String(await replica.command('info', 'replication')).includes('master_link_status:up'),
    )
    address = await TcpSwitch.to(master.server.port)
    fixture = await Fixture.create({ redis: address.through(master.url) })
  })
  afterEach(async () => {
    await fixture[Symbol.asyncDispose]()
    await address[Symbol.asyncDispose]()
    await replica[Symbol.asyncDispose]()
    await master[Symbol.asyncDispose]()
  })

  /** The replica hears nothing more of its master: what is written from now on is lost. */
  async function fallBehind(): Promise<void> {
    expect(await master.command('wait', 1, 10_000)).toBe(1)
    await replica.command('replicaof', 'no', 'one')
  }

  const failOver = (): void => address.switchTo(replica.server.port)

  it('with all its data: running jobs end once, the dead’s are recovered', async () => {
    const victim = await fixture.worker({ concurrency: 5 })
    for (let n = 0; n < 5; n++) await fixture.add({ gate: 'open' })
    await fixture.started(5)
    await fixture.worker({ concurrency: 10 })
    for (let n = 0; n < 5; n++) await fixture.add({ gate: 'open' })
    await fixture.started(10)
    await fallBehind()
    failOver()
    await victim.kill()
    await fixture.started(15)
    fixture.ledger.openGate('open')
    await fixture.succeeded(10)
    await fixture.settled()
    expect(fixture.ledger.entries('start')).toHaveLength(15)
    await expect.poll(() => fixture.ledger.entries('succeeded')).toHaveLength(10)
  })

  it('without its newest data: jobs begun since then stay with the living, run again for the dead, and no id is mixed up', async () => {
    const survivor = await fixture.worker({ concurrency: 10 })
    await fixture.add()
    await fixture.succeeded(1)
    await fallBehind()
    // Unknown to the replica: the jobs, their pops and who owns them.
    const kept = await fixture.add({ gate: 'open', result: 'kept' })
    await fixture.started(2)
    const victim = await fixture.worker({ concurrency: 10 })
    const waiting = Array.from({ length: 6 }, () => fixture.add({ gate: 'open', result: 'again' }))
    await Promise.all(waiting)
    await fixture.started(8)
    const ofVictim = fixture.ledger.entries('start').filter(({ pid }) => pid === victim.pid)
    failOver()
    await victim.kill()
    await fixture.started(8 + ofVictim.length)
    // The counter of the replica is behind, but no new job may get an id that is in flight.
    const next = await fixture.add({ result: 'new' })
    const known = new Set([kept.id, ...(await Promise.all(waiting)).map(({ id }) => id)])
    expect(known).not.toContain(next.id)
    fixture.ledger.openGate('open')
    await until(() => new Set(fixture.ledger.entries('succeeded').map(({ job }) => job)).size === 9)
    await fixture.settled()
    const { succeeded } = await fixture.holds()
    expect(succeeded).toEqual(['1', ...known, next.id].sort())
    for (const id of known) {
      const starts = fixture.ledger.entries('start', id)
      expect(starts).toHaveLength(starts.some(({ pid }) => pid === victim.pid) ? 2 : 1)
      expect(fixture.ledger.entries('succeeded', id).map(({ pid }) => pid)).toEqual([survivor.pid])
    }
  })

  it('without the newest ends of jobs: those jobs are not stuck with a process that has them no longer', async () => {
    await fixture.worker()
    const job = await fixture.add({ gate: 'open' })
    await fixture.started(1)
    await fallBehind()
    fixture.ledger.openGate('open')
    await until(() => fixture.ledger.entries('succeeded').length === 1)
    await until(async () => (await fixture.tasks()).length === 0)
    failOver()
    // On the replica it is active still, and Redis has no word of its end: it runs again, as it would with bee-queue.
    await until(() => fixture.ledger.entries('succeeded').length === 2)
    expect((await fixture.holds()).succeeded).toEqual([job.id])
    await fixture.settled()
  })
})
