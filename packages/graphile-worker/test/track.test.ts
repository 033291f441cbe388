import { until } from '@holdfast/chaos'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('a tracked job', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const rowsOfJobs = async (): Promise<string[]> =>
    (await fixture.tasks()).filter(({ kind }) => kind !== 'guard').map(({ kind }) => kind)

  it('has its effects and its end in one transaction: not begun again, whatever happens then', async () => {
    const victim = await fixture.worker()
    const id = await fixture.add('tracked', { inTransaction: 'never' }, { queueName: 'serial' })
    await until(async () => (await fixture.ledger('effect')).length === 1)
    await until(async () => (await fixture.jobs()).length === 0)
    expect(await fixture.lockedQueues()).toEqual([])
    await until(async () => (await rowsOfJobs()).length === 0, { what: 'a heartbeat lets the row go' })
    const survivor = await fixture.worker()
    await victim.kill()
    const proof = await fixture.add('tracked', {}, { queueName: 'serial' })
    await fixture.finished(1)
    await until(async () => (await fixture.tasks()).length === 1, { what: 'the dead pool’s row is gone' })
    expect((await fixture.ledger('start')).map(({ job }) => job)).toEqual([id, proof])
    expect(survivor.process.exitCode).toBeNull()
  })

  it('completed by its own handler is not failed by what the handler throws after that', async () => {
    await fixture.worker()
    await fixture.add('tracked', { complete: true, fail: 'too late' }, { queueName: 'serial' })
    await until(async () => (await fixture.jobs()).length === 0)
    await fixture.add('tracked', {}, { queueName: 'serial' })
    await fixture.finished(1)
    await until(async () => (await fixture.jobs()).length === 0)
    await until(async () => (await rowsOfJobs()).length === 0)
  })

  it('of a named queue that fails lets the next job of its queue run at once', async () => {
    await fixture.worker({ concurrency: 1, pollInterval: 200 })
    const failing = await fixture.add('tracked', { fail: 'no luck' }, { queueName: 'serial', maxAttempts: 1 })
    const next = await fixture.add('tracked', {}, { queueName: 'serial' })
    await fixture.finished(1)
    expect((await fixture.ledger('start')).map(({ job }) => job)).toEqual([failing, next])
  })

  it('that was given to another run as it was overdue takes nothing from the run that its own pool has begun meanwhile', async () => {
    const named = { mode: 'track', maxRuntime: 6_000, onOverdue: 'recover' } as const
    await fixture.worker({ concurrency: 3, pollInterval: 100, adapter: { tasks: { named } } })
    const id = await fixture.add('named', { first: 'first', gate: 'second' })
    await fixture.started(2)
    await fixture.openGate('first')
    await until(async () => (await fixture.ledger('effect')).length === 1)
    // Whatever the first run still does is done before this one.
    await fixture.add('tracked')
    await fixture.finished(1)
    await until(async () => (await fixture.jobs()).length === 1)
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({ id, lockedBy: expect.any(String), lastError: null }),
    ])
    await fixture.openGate('second')
    await fixture.finished(2)
    await until(async () => (await fixture.jobs()).length === 0)
    const starts = (await fixture.ledger('start')).filter(({ job }) => job === id)
    expect(starts.map((start) => start.attempts)).toEqual([1, 2])
  })
})
