import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture } from './fixture.js'

/** So patient that a busy machine cuts no run short. */
const monitor = { heartbeatInterval: 1_000, orphanThreshold: 20_000 }

/** What becomes of a job that its handler completes in a transaction, however that ends. */
export function transactionCases(way: 'track' | 'handOff'): void {
  describe(`a task that is completed in a transaction (${way})`, () => {
    let fixture: Fixture
    beforeEach(async () => {
      fixture = await Fixture.create()
      await sql`create table effects (job varchar(64) not null)`.execute(fixture.db)
    })
    afterEach(() => fixture[Symbol.asyncDispose]())

    const effects = async (): Promise<unknown[]> =>
      (await sql`select * from effects`.execute(fixture.db)).rows
    const runs = (id: string): unknown[] =>
      fixture.ledger.entries('start', id).map(({ detail }) => (detail as { made: number }).made)

    it.each(['throws', 'isCut'] as const)(
      'that rolls back (it %s) is retried as after any failure',
      async (transaction) => {
        const worker = await fixture.worker({ way, monitor, drain: 60_000 })
        const options = { attempts: 3, backoff: { type: 'fixed', delay: 30 } }
        const job = await fixture.add({ transaction, times: 2 }, options)
        const failing = await fixture.add({ transaction }, { attempts: 2 })
        await until(() => fixture.ledger.entries('finish', job.id).length === 1, {
          what: 'its last attempt ends',
        })
        await until(async () => (await fixture.places()).failed.includes(failing.id), {
          what: 'the other fails',
        })
        await fixture.settled()
        expect(runs(job.id)).toEqual([0, 1, 2])
        expect(runs(failing.id)).toEqual([0, 1])
        expect(await effects()).toEqual([{ job: job.id }])
        // Nothing is left that a stop would wait for.
        worker.send('stop')
        await worker.message('stopped')
        expect(await fixture.crashes()).toEqual([])
      },
    )

    it('that rolls back, of which its processor makes nothing, has ended', async () => {
      await fixture.worker({ way, monitor })
      const job = await fixture.add({ transaction: 'throws', swallows: true }, { attempts: 3 })
      await fixture.completed(1)
      await fixture.settled()
      expect(runs(job.id)).toEqual([0])
      expect(await effects()).toEqual([])
    })

    it('that has committed before its processor throws has ended, which is told', async () => {
      await fixture.worker({ way, monitor })
      const job = await fixture.add({ transaction: 'commits', failFirst: 1 }, { attempts: 3 })
      await until(() => fixture.ledger.entries('error').length === 1, { what: 'it is told' })
      await fixture.completed(1)
      await fixture.settled()
      expect(runs(job.id)).toEqual([0])
      expect(await effects()).toHaveLength(1)
      expect(fixture.ledger.entries('error')).toMatchObject([
        { detail: expect.stringMatching(/failed after it had ended its task; the job is completed/) },
      ])
      expect(fixture.ledger.entries('failed')).toEqual([])
    })

    describe('that is open still when its processor has ended', () => {
      const ended = (count: number): Promise<unknown> =>
        until(() => fixture.ledger.entries('finish').length === count, { what: 'the processor ends' })

      it.each(['commit', 'rollBack'])('is waited for (%s)', async (gate) => {
        await fixture.worker({ way, monitor })
        const job = await fixture.add({ transaction: 'staysOpen' }, { attempts: 3 })
        await ended(1)
        const other = await fixture.add()
        await ended(2)
        await until(async () => (await fixture.places()).completed.includes(other.id))
        const { active } = await fixture.places()
        expect(active).toEqual(way === 'track' ? [job.id] : [])
        fixture.ledger.openGate(gate)
        await fixture.completed(2)
        await fixture.settled()
        expect(runs(job.id)).toEqual([0])
        expect(await effects()).toHaveLength(gate === 'commit' ? 1 : 0)
      })

      it('and rolls back is retried, if that had thrown', async () => {
        await fixture.worker({ way, monitor })
        const job = await fixture.add({ transaction: 'staysOpen', times: 1, failFirst: 1 }, { attempts: 3 })
        await fixture.started(1)
        fixture.ledger.openGate('rollBack')
        await ended(1)
        await fixture.completed(1)
        await fixture.settled()
        expect(runs(job.id)).toEqual([0, 1])
        expect(await effects()).toEqual([{ job: job.id }])
      })

      it('comes back when its process dies', async () => {
        const victim = await fixture.worker({ way })
        const job = await fixture.add({ transaction: 'staysOpen', times: 1 }, { attempts: 3 })
        await ended(1)
        const other = await fixture.add()
        await ended(2)
        await until(async () => (await fixture.places()).completed.includes(other.id))
        await until(async () => (await fixture.tasks()).length === 1, {
          what: 'only the open one is in flight',
        })
        await victim.kill()
        await fixture.worker({ way })
        await ended(3)
        await fixture.completed(2)
        await fixture.settled()
        expect(runs(job.id)).toEqual([0, 0])
        expect(await effects()).toEqual([{ job: job.id }])
        await expect.poll(() => fixture.crashes()).toEqual([1])
      })
    })
  })
}
