import { type AnyDatabase, connect } from '@holdfast/chaos'
import { startServices } from '@holdfast/services'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { RunningDemo } from './support/run-demo.js'

// What the demo would say if Holdfast did not keep its promises: the test breaks them behind its back.

test('a job that disappears when it is recovered is reported as lost', async () => {
  const { code, result, stderr } = await sabotaged('enqueued', async (db) => {
    await sql`create table victims (job_ref text)`.execute(db)
    await sql`
      create function lose_one() returns trigger language plpgsql as $$ begin
        if not exists (select from victims) then
          insert into victims values (new.job_ref);
          delete from graphile_worker._private_jobs where id = new.new_job_ref::bigint;
        end if;
        return new;
      end $$`.execute(db)
    await sql`
      create trigger lose_one after insert on holdfast_recoveries
      for each row execute function lose_one()`.execute(db)
  })
  expect(result).toMatchObject({ ok: false, jobs: 60, finished: 59, lost: 1, recoveredTwice: 0 })
  expect(code).toBe(1)
  expect(stderr).toMatch(/Not as promised: job \d+: lost/)
  expect(stderr).toContain('59 of 60 jobs finished: 1 lost')
})

test('a job that comes back twice is reported', async () => {
  const { code, result, stderr } = await sabotaged('found', async (db) => {
    await sql`
      select graphile_worker.add_job('call-guarded', json_build_object('job', job))
      from demo_recoveries order by job limit 1`.execute(db)
  })
  expect(result).toMatchObject({ ok: false, finished: 60, lost: 0, recoveredTwice: 1 })
  expect(code).toBe(1)
  expect(stderr).toMatch(/Not as promised: job \d+: recovered twice/)
})

async function sabotaged(moment: string, deed: (db: AnyDatabase) => Promise<void>) {
  await using services = await startServices(['postgres'], { private: true })
  const { url } = services.get('postgres')
  const demo = new RunningDemo(['--jobs', '60', '--json'], { HOLDFAST_POSTGRES_URL: url })
  await demo.said(moment)
  const admin = connect(url, 1)
  const { rows } = await sql<{ datname: string }>`
    select datname from pg_database where datname like 't\\_%'`.execute(admin)
  await admin.destroy()
  const own = new URL(url)
  own.pathname = `/${rows[0]!.datname}`
  const db = connect(own.href, 1)
  await deed(db)
  await db.destroy()
  const code = await demo.ended
  return { code, result: JSON.parse(demo.stdout), stderr: demo.stderr }
}
