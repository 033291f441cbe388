import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

it('a job that runs for long is not given to another by graphile-worker’s rule of four hours: its lock is kept young', async () => {
  await using fixture = await Fixture.create()
  const { db } = fixture
  await fixture.worker({ concurrency: 2 })
  await fixture.add('guarded', { gate: 'open' }, { queueName: 'serial' })
  await fixture.add('guarded', { gate: 'open' })
  await fixture.started(2)
  for (const table of ['_private_jobs', '_private_job_queues']) {
    await sql`update ${fixture.of(table)} set locked_at = now() - interval '3 hours'`.execute(db)
  }
  const old = async (): Promise<unknown[]> => {
    const { rows } = await sql`
      select locked_at from graphile_worker._private_jobs where locked_at < now() - interval '1 hour'
      union all
      select locked_at from graphile_worker._private_job_queues where locked_at < now() - interval '1 hour'`.execute(
      db,
    )
    return rows
  }
  expect(await old()).toHaveLength(3)
  await until(async () => (await old()).length === 0, { timeout: 90_000 })
  await fixture.openGate('open')
  await fixture.finished(2)
  await until(async () => (await fixture.jobs()).length === 0)
  expect(await fixture.ledger('start')).toHaveLength(2)
}, 120_000)
