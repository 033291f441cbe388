import type { Thrown } from '@holdfast/chaos'
import { type Child, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Ending } from './support/endings.js'
import { Fixture } from './support/fixture.js'

/** So patient that a busy machine cuts no run short. */
const PATIENT = { heartbeatInterval: 1_000, orphanThreshold: 60_000, sweepInterval: 200 }

/** Milliseconds that a stop would wait for a job that is never let go. */
const DRAIN = 600_000

describe.each(['track', 'handOff'] as const)(
  'a handler that ends its job in a way of its own (%s)',
  (way) => {
    let fixture: Fixture
    beforeEach(async () => {
      fixture = await Fixture.create()
      await sql`create table effects (job varchar(50) not null)`.execute(fixture.db)
    })
    afterEach(() => fixture[Symbol.asyncDispose]())

    const work = () =>
      fixture.worker({ way, drain: DRAIN, monitor: PATIENT, settings: { activateDelayedJobs: true } })

    /** Nothing is left of its jobs, and nobody waits for them. */
    async function expectOver(worker: Child): Promise<void> {
      await fixture.settled()
      await until(async () => (await fixture.command('hlen', 'holdfast:owners')) === 0, {
        what: 'nobody owns a job',
      })
      worker.send('stop')
      await worker.message('stopped')
      expect(await fixture.crashes()).toEqual([])
    }

    const retries = (id: string): unknown[] =>
      fixture.ledger.entries('start', id).map(({ detail }) => (detail as { retries: number }).retries)

    it.each<Ending>(['release', 'release and throw', 'complete after release'])(
      'gives it back, and it runs once more with its retries: %s',
      async (ending) => {
        const worker = await work()
        const job = await fixture.add({ endings: [ending] }, (job) => job.retries(2))
        await until(() => fixture.ledger.entries('finish', job.id).length === (ending === 'release' ? 2 : 1))
        await expectOver(worker)
        expect(retries(job.id)).toEqual([2, 2])
        expect(await fixture.holds()).toMatchObject({ succeeded: [job.id], failed: [] })
        expect(fixture.ledger.entries('retrying')).toEqual([])
        const told = worker.messages.filter((message) => (message as { type?: string }).type === 'queueError')
        expect(told).toHaveLength(ending === 'release' ? 0 : 1)
        if (ending !== 'release')
          expect(told[0]).toMatchObject({ message: expect.stringMatching(/runs again/) })
      },
    )

    it('gives it back and goes on: it runs again when that is over, where it is the same process’s', async () => {
      const worker = await work()
      const job = await fixture.add({ endings: ['release and go on'] }, (job) => job.retries(2))
      await fixture.started(1)
      await until(async () => (await fixture.tasks()).length === 0, { what: 'it is recovered' })
      await until(async () => (await fixture.holds()).active.includes(job.id), {
        what: 'it is given out again',
      })
      const other = await fixture.add()
      await until(() => fixture.ledger.entries('finish', other.id).length === 1)
      expect(retries(job.id)).toEqual([2])
      fixture.ledger.openGate(job.id)
      await until(() => fixture.ledger.entries('finish', job.id).length === 2)
      await expectOver(worker)
      expect(retries(job.id)).toEqual([2, 2])
    })

    it('ends it twice: it has succeeded, and the error is told', async () => {
      const worker = await work()
      const job = await fixture.add({ endings: ['complete twice'] }, (job) => job.retries(2))
      const { message } = await worker.message<{ message: string }>('queueError')
      expect(message).toMatch(/failed after it had ended its task; the job has succeeded/)
      await expectOver(worker)
      expect(retries(job.id)).toEqual([2])
      expect(await fixture.holds()).toMatchObject({ succeeded: [job.id] })
    })

    it.each<Thrown>(['an object', 'undefined', 'no text', 'a number as message', 'a symbol', 'a cycle'])(
      'throws what is no usual error: the job has failed, by its retries, with what that was (%s)',
      async (throws) => {
        const worker = await work()
        const job = await fixture.add({ throws }, (job) => job.retries(1).backoff('fixed', 20))
        await until(async () => (await fixture.holds()).failed.includes(job.id), { what: 'it has failed' })
        await expectOver(worker)
        expect(retries(job.id)).toEqual([1, 0])
        const { options } = JSON.parse(await fixture.command('hget', 'jobs', job.id))
        expect(options.stacktraces).toHaveLength(2)
        expect(JSON.stringify(options.stacktraces[0])).toMatch(/42|undefined/)
      },
    )

    it('of which bee-queue can’t store what it makes of the job: it has failed, as it was before', async () => {
      const worker = await work()
      const job = await fixture.add({ unstorable: 'data', fail: 'on purpose' }, (job) => job.retries(1))
      await until(async () => (await fixture.holds()).failed.includes(job.id), { what: 'it has failed' })
      await expectOver(worker)
      expect(retries(job.id)).toEqual([1, 0])
      const { data, options } = JSON.parse(await fixture.command('hget', 'jobs', job.id))
      expect(data).toEqual({ unstorable: 'data', fail: 'on purpose' })
      expect(options.stacktraces[0]).toContain('on purpose')
    })
  },
)

describe('a tracked handler', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
    await sql`create table effects (job varchar(50) not null)`.execute(fixture.db)
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const effects = async (): Promise<number> =>
    Number((await sql<{ n: number }>`select count(*) as n from effects`.execute(fixture.db)).rows[0]!.n)

  it('whose result can’t be stored has failed, as any', async () => {
    await fixture.worker({ monitor: PATIENT })
    const job = await fixture.add({ unstorable: 'result' }, (job) => job.retries(1))
    await until(async () => (await fixture.holds()).failed.includes(job.id), { what: 'it has failed' })
    await fixture.settled()
    expect(fixture.ledger.entries('start', job.id)).toHaveLength(2)
  })

  it('that has committed before its timeout has succeeded, whatever it still does', async () => {
    const worker = await fixture.worker({ monitor: PATIENT })
    const job = await fixture.add({ endings: ['commit and go on'] }, (job) => job.retries(2).timeout(1_500))
    const { message } = await worker.message<{ message: string }>('queueError')
    expect(message).toMatch(/the job has succeeded/)
    await fixture.settled()
    fixture.ledger.openGate(job.id)
    expect(await fixture.holds()).toMatchObject({ succeeded: [job.id] })
    expect(fixture.ledger.entries('start', job.id)).toHaveLength(1)
    expect(await effects()).toBe(1)
  })

  it('that commits after its timeout is refused', async () => {
    await fixture.worker({ monitor: PATIENT })
    const job = await fixture.add({ endings: ['commit late'] }, (job) => job.timeout(300))
    await until(async () => (await fixture.holds()).failed.includes(job.id), { what: 'it has failed' })
    fixture.ledger.openGate(job.id)
    await until(() => fixture.ledger.entries('answer', job.id).length === 1)
    expect(fixture.ledger.entries('answer', job.id)).toMatchObject([{ detail: 'HOLDFAST_TASK_LOST' }])
    expect(await effects()).toBe(0)
    await fixture.settled()
  })

  it('that has committed and goes on has succeeded when its process stops', async () => {
    const leaver = await fixture.worker({ monitor: PATIENT, drain: 200, settings: { stallInterval: 200 } })
    const job = await fixture.add({ endings: ['commit and go on'] }, (job) => job.retries(2))
    await until(async () => (await effects()) === 1, { what: 'it has committed' })
    leaver.send('stop')
    await fixture.succeeded(1)
    expect(await fixture.holds()).toMatchObject({ active: [], waiting: [], succeeded: [job.id] })
    expect(fixture.ledger.entries('finish')).toEqual([])
    fixture.ledger.openGate(job.id)
    await leaver.message('stopped')
    await fixture.settled()
    expect(await fixture.command('hlen', 'holdfast:owners')).toBe(0)
  })

  it.each<Ending>(['commit once told', 'linger'])(
    'whose transaction commits after its process has stopped has succeeded (%s)',
    async (ending) => {
      const settings = { stallInterval: 200 }
      const leaver = await fixture.worker({ monitor: PATIENT, drain: 200, settings })
      const job = await fixture.add({ endings: [ending] }, (job) => job.retries(2))
      await until(() => fixture.ledger.entries('completing', job.id).length === 1, { what: 'it completes' })
      leaver.send('stopMonitor')
      await leaver.message('monitorStopped')
      expect(await effects()).toBe(0)
      fixture.ledger.openGate(`commit ${job.id}`)
      await fixture.succeeded(1)
      await fixture.worker({ monitor: PATIENT, settings })
      await fixture.settled()
      fixture.ledger.openGate(job.id)
      leaver.send('stop')
      expect(await leaver.exited).toEqual({ code: 0, signal: null })
      expect(fixture.ledger.entries('start', job.id)).toHaveLength(1)
      expect(await effects()).toBe(1)
      expect(await fixture.command('hlen', 'holdfast:owners')).toBe(0)
      const told = leaver.messages.filter((message) => (message as { type?: string }).type === 'queueError')
      expect(told).toHaveLength(ending === 'linger' ? 1 : 0)
    },
  )

  it('whose transaction commits after its process has stopped, when others have its job, is told that this runs again', async () => {
    const leaver = await fixture.worker({ monitor: PATIENT, drain: 200 })
    const job = await fixture.add({ endings: ['commit once told'] }, (job) => job.retries(2))
    await until(() => fixture.ledger.entries('completing', job.id).length === 1, { what: 'it completes' })
    leaver.send('stopMonitor')
    await leaver.message('monitorStopped')
    await fixture.command('hset', 'holdfast:owners', `${job.id}@${job.options.timestamp}`, 'others#1')
    fixture.ledger.openGate(`commit ${job.id}`)
    const { message } = await leaver.message<{ message: string }>('queueError')
    expect(message).toMatch(/has committed, .* runs again/)
    expect(await effects()).toBe(1)
    expect((await fixture.holds()).succeeded).toEqual([])
    fixture.ledger.openGate(job.id)
    leaver.send('stop')
    expect(await leaver.exited).toEqual({ code: 0, signal: null })
  })
})
