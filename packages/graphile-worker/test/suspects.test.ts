import { type Child, until } from '@holdfast/chaos'
import { expect, it } from 'vitest'
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
