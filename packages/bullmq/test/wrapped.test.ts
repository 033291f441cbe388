import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'
import type { Wrapper } from './support/wrapped.js'

const WRAPPERS: readonly Wrapper[] = [
  ...(['tracker', 'new error', 'careless', 'tokenless', 'derived', 'proxy', 'again', 'twice'] as const),
  ...(['track in hand-off', 'hand-off in track', 'two adapters'] as const),
]

describe('a processor that is wrapped once more', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
    await sql`create table effects (job varchar(64) not null)`.execute(fixture.db)
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const work = (way: 'track' | 'handOff', wrapper: Wrapper) =>
    fixture.worker({ way, wrapper, monitor: { orphanThreshold: 60_000 }, drain: 600_000 })

  const starts = (id: string): number => fixture.ledger.entries('start', id).length
  const told = (): unknown[] => fixture.ledger.entries('error').map(({ detail }) => detail)

  const handsOff = (way: string, wrapper: Wrapper): boolean =>
    wrapper.includes('hand-off') ? wrapper === 'track in hand-off' : way === 'handOff'

  describe.each(['track', 'handOff'] as const)('(%s)', (way) => {
    it.each(WRAPPERS)('is protected once, a suspect too: %s', async (wrapper) => {
      const job = await fixture.add({ gate: 'open', result: 1 }, { attempts: 3 })
      await fixture.suspect(job)
      const worker = await work(way, wrapper)
      await fixture.started(1)
      expect(fixture.ledger.entries('start')).toMatchObject([{ detail: { protected: true } }])
      expect(await fixture.tasks()).toHaveLength(1)
      const { active, completed } = await fixture.places()
      expect(handsOff(way, wrapper) ? completed : active).toEqual([job.id])
      fixture.ledger.openGate('open')
      await until(() => fixture.ledger.entries('finish').length === 1, { what: 'it ends' })
      await fixture.settled()
      expect(starts(job.id)).toBe(1)
      expect((await fixture.places()).completed).toEqual([job.id])
      worker.send('stop')
      await worker.message('stopped')
      expect(told()).toEqual([])
    })

    it.each(WRAPPERS)('fails by its attempts: %s', async (wrapper) => {
      await work(way, wrapper)
      const jobs = [1, 2].map(() => fixture.add({ fail: 'on purpose' }, { attempts: 2 }))
      const [job, other] = await Promise.all(jobs)
      await until(async () => (await fixture.places()).failed.length === 2, { what: 'both have failed' })
      await fixture.settled()
      const isTriedTwice = wrapper === 'again' && way === 'track'
      expect([starts(job!.id), starts(other!.id)]).toEqual(isTriedTwice ? [4, 4] : [2, 2])
      const isRenamed = wrapper === 'new error' && way === 'track'
      expect((await fixture.hash(job!.id)).failedReason).toBe(
        isRenamed ? 'told to the tracker' : 'on purpose',
      )
    })

    it('and fails itself when the job has been registered: by its attempts, too, and it keeps no place', async () => {
      await work(way, 'after')
      const jobs = await Promise.all([1, 2, 3].map(() => fixture.add({}, { attempts: 2 })))
      await until(async () => (await fixture.places()).failed.length === 3, { what: 'all have failed' })
      await fixture.settled()
      expect(jobs.map(({ id }) => starts(id))).toEqual(Array(3).fill(way === 'track' ? 2 : 0))
    })

    it('by what passes on a copy of the job is refused, with what to do', async () => {
      await work(way, 'copy')
      const job = await fixture.add({}, { attempts: 1 })
      await until(async () => (await fixture.places()).failed.length === 1, { what: 'it has failed' })
      expect((await fixture.hash(job.id)).failedReason).toMatch(/must pass on the job .* a copy of job 1/)
      expect(starts(job.id)).toBe(0)
      expect(await fixture.tasks()).toEqual([])
    })
  })

  it('and throws after the commit: the job is completed', async () => {
    await work('track', 'after')
    const job = await fixture.add({ endings: ['commit'] }, { attempts: 3 })
    await fixture.completed(1)
    await fixture.settled()
    expect(starts(job.id)).toBe(1)
    expect(told()).toEqual([expect.stringMatching(/the job is completed/)])
  })

  it.each(['again', 'new error'] as const)(
    'leaves what was given back to its next run, whatever it makes of that (%s)',
    async (wrapper) => {
      await work('track', wrapper)
      const job = await fixture.add({ endings: ['release and throw'] }, { attempts: 3 })
      await fixture.completed(1)
      await fixture.settled()
      const runs = fixture.ledger
        .entries('start', job.id)
        .map(({ detail }) => (detail as { made: number }).made)
      expect(runs).toEqual([0, 0])
      expect(fixture.ledger.entries('failed')).toEqual([])
    },
  )

  it('and gives the processor up: what that commits later is refused', async () => {
    await work('track', 'hasty')
    const job = await fixture.add({ endings: ['commit late'] }, { attempts: 1 })
    await fixture.started(1)
    fixture.ledger.openGate('hasty')
    await until(async () => (await fixture.places()).failed.length === 1, { what: 'it has failed' })
    await until(() => fixture.ledger.entries('aborted', job.id).length === 1, { what: 'it hears of it' })
    fixture.ledger.openGate(job.id)
    await until(() => fixture.ledger.entries('answer').length === 1)
    expect(fixture.ledger.entries('answer')).toMatchObject([{ detail: 'HOLDFAST_TASK_LOST' }])
    expect((await sql`select * from effects`.execute(fixture.db)).rows).toEqual([])
    await fixture.settled()
  })

  it('and gives up one that has committed: the job is completed', async () => {
    await work('track', 'hasty')
    const job = await fixture.add({ endings: ['commit and go on'] }, { attempts: 3 })
    await until(async () => (await sql`select * from effects`.execute(fixture.db)).rows.length === 1)
    fixture.ledger.openGate('hasty')
    await fixture.completed(1)
    fixture.ledger.openGate(job.id)
    await fixture.settled()
    expect(starts(job.id)).toBe(1)
  })

  it('is tracked in a guarded worker: its crash counts once, and it runs again once', async () => {
    const options = { way: 'guard', tracked: true } as const
    const victim = await fixture.worker(options)
    const job = await fixture.add({ gate: 'open' }, { attempts: 3 })
    await fixture.suspect(job)
    await fixture.started(1)
    // The worker's and the job's.
    expect((await fixture.tasks()).map(({ job_ref }) => job_ref !== null).sort()).toEqual([false, true])
    await fixture.worker(options)
    await victim.kill()
    await fixture.started(2)
    expect(await fixture.crashes()).toEqual([3])
    fixture.ledger.openGate('open')
    await fixture.completed(1)
    await until(async () => (await fixture.tasks()).length === 1, { what: 'only the worker’s row is left' })
    expect(starts(job.id)).toBe(2)
  })
})
