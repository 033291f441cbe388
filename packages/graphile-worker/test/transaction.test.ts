import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'
import { transactionCases } from './support/transaction-cases.js'

transactionCases('tracked')

describe('a tracked job at which a person has been', () => {
  it.each([
    ['throws', ['throw']],
    ['rolls back and throws', ['rollback', 'throw']],
  ])('and that %s, its row deleted, keeps no place: it has failed', async (_, steps) => {
    await using fixture = await Fixture.create()
    await fixture.worker({ concurrency: 1, pollInterval: 200, monitor: { orphanThreshold: 60_000 } })
    await sql`create function forget() returns trigger language plpgsql as
      'begin delete from public.holdfast_tasks where job_ref is not null; return new; end'`.execute(
      fixture.db,
    )
    await sql`create trigger forget after insert on ledger for each row when (new.what = 'start' and new.attempts = 1)
      execute function forget()`.execute(fixture.db)
    await fixture.add('tracked', { steps }, { maxAttempts: 2 })
    await until(async () => (await fixture.jobs()).some(({ lastError }) => lastError !== null))
    expect(await fixture.jobs()).toMatchObject([{ attempts: 1, lockedBy: null }])
    await fixture.hurry()
    await fixture.finished(1)
    await until(async () => (await fixture.jobs()).length === 0)
  })

  it('and whose lock was changed keeps no place, either: it is tried again', async () => {
    await using fixture = await Fixture.create()
    await fixture.worker({ concurrency: 1, pollInterval: 200, monitor: { orphanThreshold: 60_000 } })
    const id = await fixture.add('tracked', { gate: 'open' })
    await fixture.started(1)
    await sql`update graphile_worker._private_jobs set locked_at = locked_at + interval '1.5 seconds'`.execute(
      fixture.db,
    )
    await fixture.openGate('open')
    await until(async () =>
      (await fixture.jobs()).some(({ lastError }) => lastError?.includes('no longer locked')),
    )
    expect(await fixture.jobs()).toMatchObject([{ id, attempts: 1, lockedBy: null }])
    await fixture.hurry()
    await fixture.finished(2)
    await until(async () => (await fixture.jobs()).length === 0)
  })

  it('and that returns, its row deleted, has succeeded', async () => {
    await using fixture = await Fixture.create()
    await fixture.worker({ concurrency: 1 })
    await fixture.add('tracked', { gate: 'open' })
    await fixture.started(1)
    await sql`delete from holdfast_tasks where job_ref is not null`.execute(fixture.db)
    await fixture.openGate('open')
    await fixture.finished(1)
    await until(async () => (await fixture.jobs()).length === 0)
    await fixture.add('tracked')
    await fixture.finished(2)
  })
})
