import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { describe, expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

describe('a job that another worker has begun meanwhile', () => {
  it('is left to that, and keeps no place of a worker', async () => {
    await using fixture = await Fixture.create()
    // The first INSERT of a job's row waits, as that of a process that is paused just then.
    await sql`create sequence first`.execute(fixture.db)
    await sql`
      create function wait() returns trigger language plpgsql as $$ begin
        if new.job_ref is not null and nextval('public.first') = 1 then
          while not exists (select from holdfast_tasks where job_ref = new.job_ref) loop perform pg_sleep(0.05); end loop;
        end if;
        return new;
      end $$`.execute(fixture.db)
    await sql`create trigger wait before insert on holdfast_tasks for each row execute function wait()`.execute(
      fixture.db,
    )
    const options = {
      ...{ concurrency: 1, pollInterval: 200 },
      monitor: { orphanThreshold: 30_000, gcLockTtl: 60_000 },
    }
    const late = await fixture.worker(options)
    const id = await fixture.add('tracked', { gate: 'open' })
    await until(async () => (await fixture.jobs())[0]!.lockedBy !== null)
    const other = await fixture.worker(options)
    // A person unlocks it.
    await sql`update graphile_worker._private_jobs set locked_by = null, locked_at = null where id = ${id}::bigint`.execute(
      fixture.db,
    )
    await fixture.started(1)
    // Whom only the late one is free for.
    await fixture.add('tracked', { gate: 'open' })
    await fixture.started(2)
    expect((await fixture.ledger('start')).map(({ pid }) => pid)).toEqual([other.pid, late.pid])
    await fixture.openGate('open')
    await fixture.finished(2)
    await until(async () => (await fixture.jobs()).length === 0)
    expect(await fixture.ledger('start')).toHaveLength(2)
  })
})
