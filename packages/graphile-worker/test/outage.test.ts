import { until } from '@holdfast/chaos'
import { type Services, startServices } from '@holdfast/services'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('Postgres stopped for longer than the lease while workers run', () => {
  let services: Services
  let fixture: Fixture
  beforeEach(async () => {
    services = await startServices(['postgres'], { private: true, durable: true })
    fixture = await Fixture.create({ serverUrl: services.get('postgres').url })
  })
  afterEach(async () => {
    await fixture[Symbol.asyncDispose]()
    await services.stop()
  })

  it('no guarded job is recovered from the living, and every job is finished in the end', async () => {
    const monitor = { heartbeatInterval: 300, orphanThreshold: 1_500 }
    const options = { monitor, pollInterval: 500 }
    const workers = [await fixture.worker(options), await fixture.worker(options)]
    for (let n = 0; n < 6; n++) await fixture.add(n % 2 === 0 ? 'guarded' : 'handed', { gate: 'open' })
    await fixture.started(6)
    await services.get('postgres').stop('immediate')
    const since = performance.now()
    await until(() => performance.now() - since > 4_000, { what: 'every lease has long run out' })
    await services.get('postgres').start()
    await fixture.openGate('open')
    for (const worker of workers) {
      expect(worker.process.exitCode).toBeNull()
      expect(worker.messages).not.toContainEqual(expect.objectContaining({ type: 'evicted' }))
    }
    const left = async (): Promise<unknown[]> => [
      ...(await fixture.jobs()),
      ...(await fixture.tasks()).filter(({ kind }) => kind !== 'guard'),
    ]
    await until(async () => (await left()).length === 0, { what: 'all is done' })
    // What begins after the outage is not told to end because of it.
    await fixture.add('listening', { gate: 'open' })
    await fixture.finished(7)
    // A handed-off job was cut short when the lease ran out and came back under a new id.
    expect(await fixture.ledger('finish')).toHaveLength(7)
    expect(await fixture.crashes()).toEqual([])
  })
})
