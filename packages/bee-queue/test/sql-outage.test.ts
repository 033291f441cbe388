import { legDatabase, servicesOf, until } from '@holdfast/chaos'
import { type RunningService, type Services, startServices } from '@holdfast/services'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'
import { TcpSwitch } from './support/tcp-switch.js'
import { TIMES } from './support/times.js'

describe('the monitor’s database away', () => {
  let services: Services
  let database: RunningService
  let fixture: Fixture
  beforeEach(async () => {
    services = await startServices(servicesOf(legDatabase()), { private: true, durable: true })
    database = services.get(legDatabase())
    fixture = await Fixture.create({ sql: database.url })
  })
  afterEach(async () => {
    await fixture[Symbol.asyncDispose]()
    await services.stop()
  })

  it('for many leases: jobs that run go on and end, those that come wait, none runs twice and no retry is burnt', async () => {
    const options = { concurrency: 3, settings: { stallInterval: 200 } }
    const workers = [await fixture.worker(options), await fixture.worker(options)]
    const running = await fixture.add({ gate: 'open', result: 1 }, (job) => job.retries(2))
    const longer = await fixture.add({ gate: 'later', result: 2 }, (job) => job.retries(2))
    await fixture.started(2)
    await database.stop('immediate')
    const coming = await fixture.add({ result: 3 }, (job) => job.retries(2).timeout(500))
    const since = performance.now()
    await until(() => performance.now() - since > 3 * TIMES.orphanThreshold, {
      what: 'every lease has long run out',
    })
    fixture.ledger.openGate('open')
    await fixture.succeeded(1)
    expect(fixture.ledger.entries('start')).toHaveLength(2)
    expect((await fixture.holds()).succeeded).toEqual([running.id])
    await database.start()
    await fixture.succeeded(2)
    fixture.ledger.openGate('later')
    await fixture.succeeded(3)
    await fixture.settled()
    expect(
      fixture.ledger
        .entries('start')
        .map(({ job }) => job)
        .sort(),
    ).toEqual([running.id, longer.id, coming.id].sort())
    for (const { detail } of fixture.ledger.entries('start')) expect(detail).toMatchObject({ retries: 2 })
    expect([...fixture.ledger.entries('failed'), ...fixture.ledger.entries('retrying')]).toEqual([])
    for (const { process } of workers) expect(process.exitCode).toBeNull()
    expect(await fixture.crashes()).toEqual([])
  })

  it('gives work back that heeds its signal, with its retries, and it runs when the database is back', async () => {
    await fixture.worker()
    const job = await fixture.add({ gate: 'open', listens: true }, (job) => job.retries(2))
    await fixture.started(1)
    await database.stop('immediate')
    await until(() => fixture.ledger.entries('aborted').length === 1)
    await database.start()
    await fixture.started(2)
    fixture.ledger.openGate('open')
    await fixture.succeeded(1)
    await fixture.settled()
    expect(
      fixture.ledger.entries('start', job.id).map(({ detail }) => (detail as { retries: number }).retries),
    ).toEqual([2, 2])
    expect(fixture.ledger.entries('retrying')).toEqual([])
  })

  it.each(['track', 'handOff'] as const)(
    'in the middle of a transaction that completes a task gives that back too (%s)',
    async (way) => {
      await sql`create table effects (job varchar(50) not null)`.execute(fixture.db)
      await fixture.worker({ way })
      const job = await fixture.add({ endings: ['cut short', 'commit'] }, (job) => job.retries(2))
      await until(() => fixture.ledger.entries('completing', job.id).length === 1)
      await database.stop('immediate')
      await until(() => fixture.ledger.entries('aborted').length === 1)
      await database.start()
      await until(() => fixture.ledger.entries('finish', job.id).length === 1)
      await fixture.settled()
      expect(await fixture.holds()).toMatchObject({ succeeded: [job.id] })
      const retries = fixture.ledger.entries('start', job.id).map(({ detail }) => detail as object)
      expect(retries).toMatchObject([{ retries: 2 }, { retries: 2 }])
    },
  )

  it('has jobs that wait for it given back when their process stops', async () => {
    const leaver = await fixture.worker({ drain: 100, settings: { stallInterval: 60_000 } })
    await database.stop('immediate')
    for (let n = 0; n < 3; n++) await fixture.add({}, (job) => job.retries(2))
    await until(async () => (await fixture.command('hlen', 'holdfast:owners')) === 3)
    leaver.send('stop')
    await until(async () => (await fixture.holds()).waiting.length === 3)
    expect(await fixture.command('hlen', 'holdfast:owners')).toBe(0)
    await database.start()
    await fixture.worker()
    await fixture.succeeded(3)
    for (const { detail } of fixture.ledger.entries('start')) expect(detail).toMatchObject({ retries: 2 })
    expect(fixture.ledger.entries('start')).toHaveLength(3)
  })

  it('for one process alone: the others leave it what it runs while it beats in Redis', async () => {
    const proxy = await TcpSwitch.to(database.port)
    try {
      const cutOff = await fixture.worker({ url: proxy.through(fixture.database.url) })
      const job = await fixture.add({ gate: 'open', result: 1 })
      await fixture.started(1)
      const other = await fixture.worker()
      proxy.switchTo(1)
      const failed = await other.message<{ error: string }>('recoveryFailed')
      expect(failed.error).toContain('still beats in Redis')
      fixture.ledger.openGate('open')
      await fixture.succeeded(1)
      expect(await other.message('recovered')).toMatchObject({ outcome: 'finished', crashes: 1 })
      await fixture.settled()
      expect(fixture.ledger.entries('start', job.id)).toHaveLength(1)
      await expect.poll(() => fixture.ledger.entries('succeeded').map(({ pid }) => pid)).toEqual([cutOff.pid])
    } finally {
      await proxy[Symbol.asyncDispose]()
    }
  })

  it('with run-unprotected: jobs that come run all the same, and it is said', async () => {
    const worker = await fixture.worker({ monitor: { onRegisterFailure: 'run-unprotected' } })
    await database.stop('immediate')
    await fixture.add({ result: 1 })
    await fixture.add({ fail: 'on purpose' })
    await fixture.succeeded(1)
    await until(async () => (await fixture.holds()).failed.length === 1)
    await worker.message('unprotected')
    expect(
      fixture.ledger.entries('start').map(({ detail }) => (detail as { protected: boolean }).protected),
    ).toEqual([false, false])
    await database.start()
    await fixture.settled()
  })
})
