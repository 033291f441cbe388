import { legDatabase, servicesOf, until } from '@holdfast/chaos'
import { type RunningService, type Services, startServices } from '@holdfast/services'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'
import { TIMES } from './support/times.js'

describe('the monitor’s database away', () => {
  let services: Services
  let database: RunningService
  let fixture: Fixture
  beforeEach(async () => {
    services = await startServices(servicesOf(legDatabase()), { private: true, durable: true })
    database = services.get(legDatabase())
    fixture = await Fixture.create(undefined, database.url)
  })
  afterEach(async () => {
    await fixture[Symbol.asyncDispose]()
    await services.stop()
  })

  it('for many leases: jobs that run go on and end, those that come wait, none runs twice and no attempt is burnt', async () => {
    // So short that BullMQ would take what isn't renewed for stalled.
    const settings = { concurrency: 3, lockDuration: 2_000, stalledInterval: 500 }
    const workers = [await fixture.worker({ settings }), await fixture.worker({ settings })]
    const running = await fixture.add({ gate: 'open', result: 1 })
    const longer = await fixture.add({ gate: 'later', result: 2 })
    await fixture.started(2)
    await database.stop('immediate')
    const coming = await fixture.add({ result: 3 })
    const since = performance.now()
    await until(() => performance.now() - since > 3 * TIMES.orphanThreshold, {
      what: 'every lease has long run out',
    })
    fixture.ledger.openGate('open')
    await fixture.completed(1)
    expect(fixture.ledger.entries('start')).toHaveLength(2)
    expect((await fixture.places()).completed).toEqual([running.id])
    await database.start()
    await fixture.completed(2)
    fixture.ledger.openGate('later')
    await fixture.completed(3)
    await fixture.settled()
    const starts = fixture.ledger.entries('start').map(({ job }) => job)
    expect(starts.sort()).toEqual([running.id, longer.id, coming.id].sort())
    expect(fixture.ledger.entries('failed')).toEqual([])
    for (const { process } of workers) expect(process.exitCode).toBeNull()
    expect(await fixture.crashes()).toEqual([])
  })

  it('a worker that closes meanwhile gives back what waits for it, and what heeds its signal runs again later', async () => {
    const worker = await fixture.worker({ settings: { concurrency: 1 } })
    const cut = await fixture.add({ gate: 'open', listens: true })
    await fixture.started(1)
    await database.stop('immediate')
    await until(() => fixture.ledger.entries('aborted').length === 1)
    const waiting = await fixture.add()
    await until(async () => (await fixture.places()).active.includes(waiting.id))
    worker.send('close')
    await worker.message('closed')
    expect((await fixture.places()).wait).toEqual([waiting.id])
    await database.start()
    // It has begun, and is given back as soon as its row can be.
    await until(async () => (await fixture.places()).wait.includes(cut.id))
    expect(await fixture.hash(cut.id)).not.toHaveProperty('atm')
    expect(fixture.ledger.entries('failed')).toEqual([])
  })
})
