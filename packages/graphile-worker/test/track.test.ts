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

  it('stays in graphile-worker while it runs, with a row of its own; both are gone when it has ended', async () => {
    await fixture.worker()
    await fixture.add('tracked', { gate: 'open' })
    await fixture.started(1)
    expect(await fixture.jobs()).toEqual([expect.objectContaining({ lockedBy: expect.any(String) })])
    expect(await rowsOfJobs()).toEqual(['started'])
    await fixture.openGate('open')
    await fixture.finished(1)
    await until(async () => (await fixture.jobs()).length === 0)
    await until(async () => (await rowsOfJobs()).length === 0)
  })

  it('of a killed process runs again in place, once, with its id', async () => {
    const victim = await fixture.worker()
    const id = await fixture.add('tracked', { gate: 'open' })
    await fixture.started(1)
    const survivor = await fixture.worker()
    await victim.kill()
    await fixture.started(2)
    await fixture.openGate('open')
    await fixture.finished(1)
    await until(async () => (await fixture.jobs()).length === 0)
    expect((await fixture.ledger('start')).map(({ job, attempts, pid }) => [job, attempts, pid])).toEqual([
      [id, 1, victim.pid],
      [id, 2, survivor.pid],
    ])
    expect(await fixture.crashes()).toEqual([{ jobRef: id, count: 1 }])
  })

  it('that fails is retried by graphile-worker’s own rules', async () => {
    await fixture.worker({ pollInterval: 300 })
    await fixture.add('tracked', { fail: 'no luck' }, { maxAttempts: 2 })
    await until(async () => (await fixture.jobs()).some(({ lastError }) => lastError === 'no luck'))
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({ attempts: 1, lockedBy: null, due: false }),
    ])
    await fixture.started(2)
    await until(async () =>
      (await fixture.jobs()).some(({ attempts, lockedBy }) => attempts === 2 && lockedBy === null),
    )
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({ attempts: 2, available: false, lastError: 'no luck' }),
    ])
    expect(await fixture.crashes()).toEqual([])
    expect(await fixture.quarantine()).toEqual([])
  })

  it('has its effects and its end in one transaction: not begun again, whatever happens then', async () => {
    const victim = await fixture.worker()
    const id = await fixture.add('tracked', { inTransaction: 'never' }, { queueName: 'serial' })
    await until(async () => (await fixture.ledger('effect')).length === 1)
    await until(async () => (await fixture.jobs()).length === 0)
    expect(await fixture.lockedQueues()).toEqual([])
    expect(await rowsOfJobs()).toEqual([])
    const survivor = await fixture.worker()
    await victim.kill()
    const proof = await fixture.add('tracked', {}, { queueName: 'serial' })
    await fixture.finished(1)
    await until(async () => (await fixture.tasks()).length === 1, { what: 'the dead pool’s row is gone' })
    expect((await fixture.ledger('start')).map(({ job }) => job)).toEqual([id, proof])
    expect(survivor.process.exitCode).toBeNull()
  })

  it('whose process was declared dead can’t commit its effects, nor end the run of another', async () => {
    const zombie = await fixture.worker()
    const id = await fixture.add('tracked', { kill: 'go', gate: 'open' })
    await fixture.started(1)
    const survivor = await fixture.worker()
    zombie.pause()
    await fixture.started(2)
    zombie.resume()
    await zombie.message('evicted')
    await zombie.message('runnerEnded')
    expect(await fixture.jobs()).toEqual([expect.objectContaining({ id, lockedBy: expect.any(String) })])
    expect(await rowsOfJobs()).toEqual(['started'])
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

  it('is stopped with its process and keeps its attempt', async () => {
    const leaving = await fixture.worker({ monitor: { orphanThreshold: 3_600_000 } })
    const id = await fixture.add('tracked', { gate: 'never' })
    await fixture.started(1)
    leaving.send('stop')
    await leaving.message('stopped')
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({ id, attempts: 0, lockedBy: null, available: true }),
    ])
    expect(await fixture.tasks()).toEqual([])
    expect(await fixture.crashes()).toEqual([])
  })

  it('that runs for longer than it may is aborted, and tried again by graphile-worker’s own rules', async () => {
    await fixture.worker({ adapter: { tasks: { named: { mode: 'track', maxRuntime: 300 } } } })
    await fixture.add('named', { gate: 'never' }, { maxAttempts: 2 })
    await until(async () => (await fixture.jobs()).some(({ lastError }) => lastError !== null))
    expect(await fixture.jobs()).toEqual([
      expect.objectContaining({
        attempts: 1,
        available: true,
        due: false,
        lastError: expect.stringContaining('maxRuntime'),
      }),
    ])
    expect(await fixture.crashes()).toEqual([])
  })

  it('of a named queue that fails lets the next job of its queue run at once', async () => {
    await fixture.worker({ concurrency: 1, pollInterval: 200 })
    const failing = await fixture.add('tracked', { fail: 'no luck' }, { queueName: 'serial', maxAttempts: 1 })
    const next = await fixture.add('tracked', {}, { queueName: 'serial' })
    await fixture.finished(1)
    expect((await fixture.ledger('start')).map(({ job }) => job)).toEqual([failing, next])
  })

  it.each([
    ['gave itself back', { release: true }, [1, 1]],
    ['was given to another run as it was overdue', {}, [1, 2]],
  ])(
    'that %s takes nothing from the run that its own pool has begun meanwhile',
    async (_, payload, attempts) => {
      const named = {
        mode: 'track',
        ...('release' in payload ? {} : { maxRuntime: 2_000, onOverdue: 'recover' }),
      }
      await fixture.worker({ concurrency: 3, pollInterval: 100, adapter: { tasks: { named } } as never })
      const id = await fixture.add('named', { ...payload, first: 'first', gate: 'second' })
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
      expect(starts.map((start) => start.attempts)).toEqual(attempts)
    },
  )
})
