import { Child, until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('300 orphans, and recoverers killed at every step', () => {
  let fixture: Fixture
  const recoverers = new Set<Child>()
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(async () => {
    for (const child of recoverers) await child[Symbol.asyncDispose]()
    recoverers.clear()
    await fixture[Symbol.asyncDispose]()
  })

  it.each([true, false])('none is lost, none runs twice (removeOnSuccess %s)', async (removeOnSuccess) => {
    const settings = { removeOnSuccess, stallInterval: 500 }
    const victim = await fixture.worker({ concurrency: 300, settings })
    for (let n = 0; n < 300; n++) await fixture.add({ gate: 'open' })
    await fixture.started(300)
    await until(async () => (await fixture.tasks()).length === 300)
    let deaths = 0
    const recoverer = (deadly: number): Child => {
      const options = {
        url: fixture.database.url,
        redis: fixture.redis,
        queue: fixture.queue.name,
        deadly,
        settings,
      }
      const child = new Child(new URL('./support/recoverer.ts', import.meta.url), { options })
      recoverers.add(child)
      void child.exited.then(({ signal }) => {
        recoverers.delete(child)
        if (signal !== 'SIGKILL' || fixture.ledger.entries('succeeded').length === 300) return
        deaths += 1
        // The last ones let it come to an end.
        recoverer(deaths < 12 ? 0.2 : 0)
      })
      return child
    }
    // There from the first, so that they may judge.
    for (const child of [recoverer(0.5), recoverer(0.5)]) await child.message('ready')
    await victim.kill()
    fixture.ledger.openGate('open')
    // It recovers nothing itself.
    const worker = await fixture.worker({ concurrency: 20, settings, monitor: { sweepInterval: 600_000 } })
    await until(() => fixture.ledger.entries('succeeded').length >= 300, { timeout: 50_000 })
    await fixture.settled()
    const starts = fixture.ledger.entries('start')
    expect(starts.filter(({ pid }) => pid === victim.pid)).toHaveLength(300)
    const again = starts.filter(({ pid }) => pid === worker.pid).map(({ job }) => job)
    expect(again).toHaveLength(300)
    expect(new Set(again).size).toBe(300)
    expect(fixture.ledger.entries('succeeded')).toHaveLength(300)
    expect(deaths).toBeGreaterThan(0)
    expect((await fixture.crashes()).every(({ count }) => Number(count) === 1)).toBe(true)
  })
})
