import type { Thrown } from '@holdfast/chaos'
import { type Child, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Ending } from './support/endings.js'
import { Fixture } from './support/fixture.js'

/** So patient that a busy machine cuts no run short. */
const PATIENT = { heartbeatInterval: 1_000, orphanThreshold: 60_000 }

/** Milliseconds that a stop would wait for a job that is never let go. */
const DRAIN = 600_000

let fixture: Fixture
beforeEach(async () => {
  fixture = await Fixture.create()
  await sql`create table effects (job varchar(64) not null)`.execute(fixture.db)
})
afterEach(() => fixture[Symbol.asyncDispose]())

const made = (id: string): unknown[] =>
  fixture.ledger.entries('start', id).map(({ detail }) => (detail as { made: number }).made)
const told = (): string[] => fixture.ledger.entries('error').map(({ detail }) => String(detail))
const effects = async (): Promise<number> =>
  (await sql`select * from effects`.execute(fixture.db)).rows.length

/** Nothing is left of its jobs, and nobody waits for them. */
async function expectOver(worker: Child): Promise<void> {
  await fixture.settled()
  worker.send('stop')
  await worker.message('stopped')
  expect(await fixture.crashes()).toEqual([])
}

describe.each(['track', 'handOff'] as const)(
  'a processor that ends its job in a way of its own (%s)',
  (way) => {
    const work = (options: object = {}) => fixture.worker({ way, drain: DRAIN, monitor: PATIENT, ...options })

    it.each<Ending>(['release', 'release and throw', 'complete after release'])(
      'gives it back, and it runs once more with its attempts: %s',
      async (ending) => {
        const worker = await work()
        const job = await fixture.add({ endings: [ending] }, { attempts: 3 })
        await until(
          () => fixture.ledger.entries('finish', job.id).length === (ending === 'release' ? 2 : 1),
          {
            what: 'it ends',
          },
        )
        await fixture.completed(1)
        await expectOver(worker)
        expect(made(job.id)).toEqual([0, 0])
        expect(await fixture.places()).toMatchObject({ completed: [job.id], failed: [] })
        expect(fixture.ledger.entries('failed')).toEqual([])
        expect(told()).toEqual(ending === 'release' ? [] : [expect.stringMatching(/the job runs again/)])
      },
    )

    it('gives it back and goes on: it runs again when that is over, where it is the same process’s', async () => {
      const worker = await work()
      const job = await fixture.add({ endings: ['release and go on'] }, { attempts: 3 })
      await fixture.started(1)
      await until(async () => Number((await fixture.hash(job.id)).ats) > 1, { what: 'it is fetched again' })
      const other = await fixture.add()
      await until(() => fixture.ledger.entries('finish', other.id).length === 1)
      expect(made(job.id)).toEqual([0])
      fixture.ledger.openGate(job.id)
      await fixture.completed(2)
      await expectOver(worker)
      expect(made(job.id)).toEqual([0, 0])
    })

    it('ends it twice: it is completed, and the error is told', async () => {
      const worker = await work()
      const job = await fixture.add({ endings: ['complete twice'] }, { attempts: 3 })
      await fixture.completed(1)
      await expectOver(worker)
      expect(made(job.id)).toEqual([0])
      expect(told()).toEqual([
        expect.stringMatching(/failed after it had ended its task; the job is completed/),
      ])
    })

    it.each<Thrown>(['an object', 'undefined', 'no text', 'a number as message', 'a symbol', 'a cycle'])(
      'throws what is no usual error: the job has failed, by its attempts, with what that was (%s)',
      async (throws) => {
        const worker = await work()
        const job = await fixture.add({ throws }, { attempts: 2, backoff: { type: 'fixed', delay: 20 } })
        await until(async () => (await fixture.places()).failed.includes(job.id), { what: 'it has failed' })
        await expectOver(worker)
        expect(made(job.id)).toEqual([0, 1])
        const { failedReason, stacktrace } = await fixture.hash(job.id)
        expect(failedReason).toMatch(/42|undefined/)
        expect(JSON.parse(stacktrace!)).toHaveLength(2)
        expect(told()).toEqual([])
      },
    )

    it('and fails, where a backoff throws, has failed for good, and that is told', async () => {
      const worker = await work({ brokenBackoff: true })
      const job = await fixture.add({ fail: 'on purpose' }, { attempts: 3, backoff: { type: 'custom' } })
      await until(async () => (await fixture.places()).failed.includes(job.id), { what: 'it has failed' })
      await expectOver(worker)
      expect(made(job.id)).toEqual([0])
      expect((await fixture.hash(job.id)).failedReason).toBe('on purpose')
      expect(told()).toContain('no backoff')
    })
  },
)

describe('a tracked processor', () => {
  it.each<Ending>([
    'commit and throw',
    'commit and rate limit',
    'commit and move to wait',
    'commit and move to delayed',
    'commit and return what JSON can’t hold',
  ])('that has committed has ended, whatever it does then: %s', async (ending) => {
    const worker = await fixture.worker({ drain: DRAIN, monitor: PATIENT })
    await fixture.worker({ monitor: PATIENT }) // Whoever would run it again.
    const job = await fixture.add({ endings: [ending] }, { attempts: 3 })
    await fixture.completed(1)
    await expectOver(worker)
    expect(made(job.id)).toEqual([0])
    expect(await effects()).toBe(1)
    expect(told()).toHaveLength(1)
    expect(fixture.ledger.entries('failed')).toEqual([])
  })

  it('that has committed is completed, although its worker is closed by force meanwhile', async () => {
    const settings = { removeOnComplete: { count: 0 } }
    const leaver = await fixture.worker({ monitor: PATIENT, settings })
    const job = await fixture.add({ endings: ['commit and go on'] }, { attempts: 3 })
    await until(async () => (await effects()) === 1, { what: 'it has committed' })
    leaver.send('closeByForce')
    await leaver.message('closed')
    fixture.ledger.openGate(job.id)
    await fixture.settled()
    expect(made(job.id)).toEqual([0])
    // As its worker has it.
    expect(await fixture.hash(job.id)).toEqual({})
    expect(await fixture.places()).toMatchObject({ completed: [], failed: [] })
  })

  it('that has committed and goes on is completed when its process stops', async () => {
    const leaver = await fixture.worker({ monitor: PATIENT, drain: 200 })
    const job = await fixture.add({ endings: ['commit and go on'] }, { attempts: 3 })
    await until(async () => (await effects()) === 1, { what: 'it has committed' })
    leaver.send('stop')
    await fixture.completed(1)
    expect(await fixture.places()).toMatchObject({ active: [], wait: [], completed: [job.id] })
    expect(fixture.ledger.entries('finish')).toEqual([])
    await leaver.message('stopped')
    fixture.ledger.openGate(job.id)
    await fixture.settled()
    expect(await leaver.exited).toEqual({ code: 0, signal: null })
    expect(fixture.ledger.entries('failed')).toEqual([])
  })

  it('that commits when its process has stopped, and its queue is closed, is completed', async () => {
    const leaver = await fixture.worker({ monitor: PATIENT, drain: 200 })
    const job = await fixture.add({ transaction: 'staysOpen', endings: ['go on'] }, { attempts: 3 })
    await until(() => fixture.ledger.entries('goes on').length === 1, { what: 'it goes on' })
    leaver.send('stop')
    await leaver.message('stopped')
    leaver.send('closeQueue')
    await leaver.message('queueClosed')
    fixture.ledger.openGate('commit')
    await fixture.completed(1)
    expect(fixture.ledger.entries('finish')).toEqual([])
    fixture.ledger.openGate(job.id)
    expect(await leaver.exited).toEqual({ code: 0, signal: null })
    await fixture.settled()
    expect([made(job.id), await effects(), told()]).toEqual([[0], 1, []])
  })

  it('that commits when BullMQ can’t be told any more has it told what becomes of its job', async () => {
    const leaver = await fixture.worker({ monitor: PATIENT })
    const job = await fixture.add({ endings: ['commit and go on'] }, { attempts: 3 })
    await until(async () => (await effects()) === 1, { what: 'it has committed' })
    leaver.send('closeByForce')
    await leaver.message('closed')
    leaver.send('closeQueue')
    await leaver.message('queueClosed')
    fixture.ledger.openGate(job.id)
    await until(() => told().length > 0, { what: 'it is told' })
    expect(told()).toEqual([expect.stringMatching(/has committed, .* it runs again/)])
    expect((await fixture.places()).active).toEqual([job.id])
  })

  it('that has committed and goes on has its lock again, where that was lost', async () => {
    await fixture.worker({ monitor: PATIENT, settings: { lockDuration: 2_000, stalledInterval: 60_000 } })
    const job = await fixture.add({ endings: ['commit and go on'] }, { attempts: 3 })
    await until(async () => (await effects()) === 1, { what: 'it has committed' })
    const lock = `${fixture.keys}${job.id}:lock`
    const token = await fixture.client.get(lock)
    await fixture.client.del(lock)
    await until(async () => (await fixture.client.get(lock)) === token, { what: 'it is locked again' })
    fixture.ledger.openGate(job.id)
    await fixture.completed(1)
    await fixture.settled()
    expect(made(job.id)).toEqual([0])
  })
})
