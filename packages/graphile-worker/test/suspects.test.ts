import { type Child, until } from '@holdfast/chaos'
import { TaskMonitor } from '@holdfast/core'
import { expect, it } from 'vitest'
import { graphileWorkerAdapter } from '../src/index.js'
import { Fixture } from './support/fixture.js'

it('a guarded job that kills its processes takes no innocent one along into quarantine', async () => {
  await using fixture = await Fixture.create()
  const options = { monitor: { maxRecoveries: 2 }, pollInterval: 200 }
  const innocents: string[] = []
  for (let n = 0; n < 5; n++) innocents.push(await fixture.add('guarded', { gate: 'open' }))
  const killer = await fixture.add('guarded', { kill: 'go' })
  const running = new Set<Child>([await fixture.worker(options)])
  await fixture.started(6)
  await fixture.openGate('go')
  const starts = async (): Promise<number> =>
    (await fixture.ledger('start')).filter(({ job }) => job === killer).length
  await until(
    async () => {
      for (const worker of running) {
        if (worker.process.signalCode === null) continue
        running.delete(worker)
        running.add(await fixture.worker(options))
      }
      // All of them have been in flight in two dying processes by then.
      if ((await starts()) === 2) await fixture.openGate('open').catch(() => undefined)
      return (await fixture.quarantine()).length > 0 && (await fixture.ledger('finish')).length === 5
    },
    { timeout: 90_000 },
  )
  expect(await fixture.quarantine()).toEqual([
    { jobRef: killer, reason: 'in flight in 3 dying processes, more than maxRecoveries (2) allows' },
  ])
  expect(new Set((await fixture.ledger('finish')).map(({ job }) => job))).toEqual(new Set(innocents))
  for (const { jobRef, count } of await fixture.crashes()) {
    if (jobRef !== killer) expect(count).toBeLessThanOrEqual(2)
  }
  await until(async () => (await fixture.jobs()).length === 1)
}, 120_000)

it('a job that kills every process that runs it runs maxRecoveries times again, then stands failed and in quarantine', async () => {
  await using fixture = await Fixture.create()
  const options = { monitor: { maxRecoveries: 2 }, pollInterval: 200 }
  const id = await fixture.add('guarded', { kill: true })
  const running = new Set([await fixture.worker(options), await fixture.worker(options)])
  await until(
    async () => {
      for (const worker of running) {
        if (worker.process.signalCode === null) continue
        running.delete(worker)
        running.add(await fixture.worker(options))
      }
      return (await fixture.jobs()).some(({ lastError }) => lastError !== null)
    },
    { timeout: 50_000 },
  )
  const reason = 'in flight in 3 dying processes, more than maxRecoveries (2) allows'
  expect(await fixture.jobs()).toEqual([
    expect.objectContaining({ id, lastError: reason, lockedBy: null, available: false }),
  ])
  expect(await fixture.ledger('start')).toHaveLength(3)
  const { quarantine } = new TaskMonitor({ db: fixture.db, adapters: [graphileWorkerAdapter()] })
  const [entry, ...others] = await quarantine.list()
  expect(others).toEqual([])
  expect(entry).toMatchObject({ jobRef: id, reason, crashes: 3 })

  // A person may let it run once more; it goes straight back when it kills again.
  expect(await quarantine.retry(entry!.id)).toEqual({ kind: 'requeued', jobRef: id })
  await fixture.started(4)
  await until(async () => (await quarantine.list()).length > 0)
  expect(await quarantine.list()).toEqual([expect.objectContaining({ jobRef: id, crashes: 4 })])
  expect(await fixture.ledger('start')).toHaveLength(4)
})
