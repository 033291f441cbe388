import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('monitor.stop()', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it.each(['track', 'handOff'] as const)(
    '#102: gives back what is running, at once and with its attempt, and takes no more (%s)',
    async (way) => {
      const worker = await fixture.worker({ way, drain: 200 })
      for (let n = 0; n < 3; n++) await fixture.add({ gate: 'never' }, { retryLimit: 1 })
      await fixture.started(3)
      worker.send('stop')
      await worker.message('stopped')
      const more = await fixture.add()
      // pg-boss 10 says late, of whatever is active then, that it is completed: so they wait for a second.
      await until(async () => (await fixture.jobs()).every(({ due }) => due))
      for (const job of await fixture.jobs()) {
        const given = { state: 'retry', retry_limit: 2, retry_count: 0 }
        expect(job).toMatchObject(job.id === more ? { state: 'created' } : given)
      }
      expect(await fixture.tasks()).toEqual([])
      expect(await fixture.crashes()).toEqual([])
      await worker.exited
    },
  )

  it('leaves nothing for boss.stop() to fail, though a handler does not listen', async () => {
    const worker = await fixture.worker({ drain: 100 })
    const id = await fixture.add({ gate: 'never', deaf: true })
    await fixture.started(1)
    worker.send('stop')
    await until(async () => (await fixture.job(id)).state === 'retry')
    await fixture.worker()
    await fixture.started(2)
    await worker.message('stopped')
    expect(await fixture.job(id)).toMatchObject({ state: 'active', retry_count: 1, retry_limit: 3 })
  })

  it('waits for what ends in time', async () => {
    const worker = await fixture.worker({ drain: 20_000 })
    const id = await fixture.add({ gate: 'open', result: 1 })
    await fixture.started(1)
    worker.send('stop')
    await fixture.openGate('open')
    await worker.message('stopped')
    expect(await fixture.job(id)).toMatchObject({ state: 'completed', output: { value: 1 } })
  })

  it('leaves jobs that wait for a place where they are, for others', async () => {
    const worker = await fixture.worker({ way: 'handOff', concurrency: 1, drain: 200 })
    for (let n = 0; n < 3; n++) await fixture.add({ gate: 'never' })
    await until(async () => (await fixture.tasks()).length === 3)
    await fixture.started(1)
    worker.send('stop')
    await worker.message('stopped')
    expect(await fixture.ledger('start')).toHaveLength(1)
    expect((await fixture.jobs()).map(({ state }) => state)).toEqual(['retry', 'retry', 'retry'])
  })
})
