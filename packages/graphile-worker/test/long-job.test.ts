import { FreezingProxy, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { describe, expect, it } from 'vitest'
import { RENEWAL } from '../src/fetched-job.js'
import { Fixture } from './support/fixture.js'

describe('the locks of jobs that run for long are kept young, so that nobody takes them for forgotten', () => {
  it.each([
    ['as their worker hears', false],
    ['although their worker never hears whether they are', true],
  ])(
    'and the jobs end as any others (%s)',
    async (_, answerIsLost) => {
      await using fixture = await Fixture.create()
      const { db } = fixture
      const { proxy, url } = await FreezingProxy.to(fixture.database.url)
      await using _proxy = proxy
      await sql`create function slowly() returns trigger language plpgsql as
      'begin perform pg_sleep(1); return new; end'`.execute(db)
      await sql`create trigger slow before update on graphile_worker._private_jobs for each row
      when (old.locked_by = new.locked_by) execute function slowly()`.execute(db)
      const worker = await fixture.worker({ url, pollInterval: 500, monitor: { orphanThreshold: 3_600_000 } })
      const ids = [
        await fixture.add('guarded', { gate: 'open' }, { queueName: 'serial' }),
        await fixture.add('guarded', { gate: 'open' }),
        await fixture.add('tracked', { gate: 'open' }),
      ]
      await fixture.started(3)
      const lockedAt = async (): Promise<number[]> =>
        (await Promise.all(ids.map((id) => fixture.fetchOf(id)))).map((fetch) => fetch.lockedAt)
      const before = await lockedAt()
      if (answerIsLost) {
        const isRenewing = async (): Promise<boolean> => {
          const { rows } = await sql`select 1 from pg_stat_activity
          where datname = current_database() and wait_event = 'PgSleep'`.execute(db)
          return rows.length > 0
        }
        await until(isRenewing)
        proxy.freeze()
      }
      const renewed = before.map((time) => time + RENEWAL)
      await until(async () => String(await lockedAt()) === String(renewed))
      const { rows } = await sql<{ time: Date }>`
      select locked_at as time from graphile_worker._private_job_queues where locked_by is not null`.execute(
        db,
      )
      expect(rows.map(({ time }) => time.getTime())).toEqual([renewed[0]])
      if (answerIsLost) proxy.breakFrozen()
      await fixture.openGate('open')
      await fixture.finished(3)
      await until(async () => (await fixture.jobs()).length === 0)
      await until(async () => (await fixture.tasks()).every(({ kind }) => kind === 'guard'))
      expect(await fixture.lockedQueues()).toEqual([])
      expect(await fixture.ledger('start')).toHaveLength(3)
      expect(worker.process.exitCode).toBeNull()
    },
    150_000,
  )
})
