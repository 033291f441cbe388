import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

it.each([
  [
    'as it is added again under its key',
    `perform graphile_worker.add_job('guarded', '{"gate": "open"}', queue_name => 'serial', job_key => 'k')`,
  ],
  [
    'by reschedule_jobs()',
    `perform graphile_worker.reschedule_jobs(array[new.id], run_at => now(), attempts => 0);
      update graphile_worker._private_jobs set payload = '{"gate": "open"}' where id = new.id`,
  ],
])(
  'a job that failed, and whose attempts are set back then, is not failed again while it runs (%s)',
  async (_, again) => {
    await using fixture = await Fixture.create()
    const { db } = fixture
    // At once, so that it runs again before who looks after ends does.
    await sql`create function again() returns trigger language plpgsql as
    ${sql.raw(`$$ begin ${again}; return null; end $$`)}`.execute(db)
    await sql`create trigger again after update on graphile_worker._private_jobs for each row
    when (old.last_error is null and new.last_error = 'no luck') execute function again()`.execute(db)
    // Nothing else ends jobs here; a statement that does so is told, also where it finds none.
    await sql`create table looks (n bigserial)`.execute(db)
    await sql`create function look() returns trigger language plpgsql as
    'begin insert into public.looks default values; return null; end'`.execute(db)
    await sql`create trigger look after delete on graphile_worker._private_jobs for each statement
    execute function look()`.execute(db)
    // One place, so that its lock is the same on 0.16, too. Where a heartbeat is late, ends are written another way.
    await fixture.worker({
      concurrency: 1,
      pollInterval: 100,
      monitor: { heartbeatInterval: 3_000, orphanThreshold: 60_000, gcLockTtl: 30_000 },
    })
    const id = await fixture.add('guarded', { fail: 'no luck' }, { jobKey: 'k', queueName: 'serial' })
    await fixture.started(2)
    await until(async () => (await sql`select from looks`.execute(db)).rows.length > 0)
    expect(await fixture.jobs()).toMatchObject([{ id, attempts: 1, lockedBy: expect.any(String) }])
    expect(await fixture.lockedQueues()).toEqual(['serial'])
    await fixture.openGate('open')
    await fixture.finished(1)
    await until(async () => (await fixture.jobs()).length === 0)
    expect((await fixture.ledger('start')).map(({ attempts }) => attempts)).toEqual([1, 1])
  },
)
