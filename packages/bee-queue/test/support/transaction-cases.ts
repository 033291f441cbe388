import { legDatabase, patience, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Ending } from './endings.js'
import { Fixture } from './fixture.js'

/** A lease so long that no load on the machine cuts a handler short. */
const PATIENT = { heartbeatInterval: 1_000, orphanThreshold: 10_000 }

/** Milliseconds, longer than any test: what waits for it, fails. */
const DRAIN = 300_000

/** What becomes of a job that its handler completes in a transaction, however that ends. */
export function transactionCases(way: 'track' | 'handOff'): void {
  describe(`a job that completes its task in a transaction (${way})`, () => {
    let fixture: Fixture
    beforeEach(async () => {
      fixture = await Fixture.create()
      await sql`create table effects (job varchar(50) not null)`.execute(fixture.db)
      if (legDatabase().startsWith('postgres'))
        await sql`create table once (n int unique deferrable initially deferred)`.execute(fixture.db)
    })
    afterEach(() => fixture[Symbol.asyncDispose]())

    const effects = async (): Promise<number> =>
      Number((await sql<{ n: number }>`select count(*) as n from effects`.execute(fixture.db)).rows[0]!.n)

    const add = (...endings: Ending[]) => fixture.add({ endings, result: 'r' }, (job) => job.retries(2))

    /** Nothing is left of it, and nobody waits for it: its process stops at once. */
    async function expectOver(worker: Awaited<ReturnType<Fixture['worker']>>): Promise<void> {
      await fixture.settled()
      await until(async () => (await fixture.command('hlen', 'holdfast:owners')) === 0, {
        what: 'nobody owns it',
      })
      const since = performance.now()
      worker.send('stop')
      await worker.message('stopped')
      expect(performance.now() - since).toBeLessThan(patience(10_000))
    }

    const starts = (id: string): number => fixture.ledger.entries('start', id).length

    const retriesOf = async (id: string): Promise<number> =>
      JSON.parse(await fixture.command('hget', 'jobs', id)).options.retries

    it.each<Ending>(['throw', 'broken'])(
      'has failed as any other when that rolls back (%s)',
      async (ending) => {
        const worker = await fixture.worker({ way, drain: DRAIN, monitor: PATIENT })
        const job = await add(ending, 'commit')
        const other = await add(ending, ending, ending)
        await until(async () => (await fixture.holds()).failed.length === 1)
        await until(() => starts(job.id) === 2)
        await expectOver(worker)
        expect([starts(job.id), starts(other.id)]).toEqual([2, 3])
        expect(await effects()).toBe(1)
        expect(await retriesOf(job.id)).toBe(1)
        expect(await fixture.holds()).toMatchObject({ succeeded: [job.id], failed: [other.id] })
        expect(await fixture.crashes()).toEqual([])
      },
    )

    it('has succeeded when its handler returns in spite of the rollback', async () => {
      const worker = await fixture.worker({ way, drain: DRAIN, monitor: PATIENT })
      const job = await add('swallow')
      await until(() => fixture.ledger.entries('finish', job.id).length === 1)
      await expectOver(worker)
      expect(starts(job.id)).toBe(1)
      expect(await effects()).toBe(0)
      expect(await fixture.holds()).toMatchObject({ succeeded: [job.id] })
    })

    it('may complete it again after a rollback', async () => {
      const worker = await fixture.worker({ way, drain: DRAIN, monitor: PATIENT })
      const job = await add('again')
      await until(() => fixture.ledger.entries('finish', job.id).length === 1)
      await expectOver(worker)
      expect(starts(job.id)).toBe(1)
      expect(await effects()).toBe(1)
      expect(await fixture.holds()).toMatchObject({ succeeded: [job.id] })
    })

    it('has succeeded when its handler throws after the commit, which is told', async () => {
      const worker = await fixture.worker({ way, drain: DRAIN, monitor: PATIENT })
      const job = await add('commit and throw')
      const { message } = await worker.message<{ message: string }>('queueError')
      expect(message).toMatch(/failed after it had ended its task; the job has succeeded/)
      await expectOver(worker)
      expect(starts(job.id)).toBe(1)
      expect(await effects()).toBe(1)
      expect(await fixture.holds()).toMatchObject({ succeeded: [job.id] })
      expect(await retriesOf(job.id)).toBe(2)
      expect(fixture.ledger.entries('retrying')).toEqual([])
    })

    it.each(['commit', 'roll back'])(
      'that is open when its handler throws is waited for (%s)',
      async (fate) => {
        const worker = await fixture.worker({ way, drain: DRAIN, monitor: PATIENT })
        const job = await add('linger', 'commit')
        await until(() => fixture.ledger.entries('completing', job.id).length === 1)
        // Long enough for several sweeps.
        const since = performance.now()
        await until(() => performance.now() - since > 1_500, { what: 'several sweeps' })
        expect(starts(job.id)).toBe(1)
        fixture.ledger.openGate(`${fate} ${job.id}`)
        if (fate === 'roll back') await until(() => starts(job.id) === 2)
        await expectOver(worker)
        expect(starts(job.id)).toBe(fate === 'commit' ? 1 : 2)
        expect(await effects()).toBe(1)
        expect(await fixture.holds()).toMatchObject({ succeeded: [job.id] })
      },
    )
  })
}
