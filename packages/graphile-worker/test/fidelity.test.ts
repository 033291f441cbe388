import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { expect, it } from 'vitest'
import { Fixture } from './support/fixture.js'

/** What JSON.parse and jsonb would change or refuse, and what cron writes. */
const PAYLOADS = {
  'odd text': '{"gate":"open", "nul":"\\u0000", "lone":"\\ud800", "é":"\\u00e9", "a":1, "a":2}',
  numbers: '{"gate":"open", "big":12345678901234567890, "e":1.50, "huge":1e400, "minus":-0}',
  array: '[{"gate":"open"},  [], null, {"x": [1, 2]}]',
  null: 'null',
  cron: '{"gate":"open","_cron":{"ts":"2020-02-02T02:02:00.000Z"}}',
}

it('a handed-off job comes back as it was, to the byte, and cron adds it no second time', async () => {
  await using fixture = await Fixture.create()
  /** All that graphile-worker stores of a job, but for its id and what a run changes. */
  const stored = async () => {
    const { rows } = await sql<{ payload: string }>`
      select t.identifier, j.payload::text as payload, q.queue_name, j.priority, j.max_attempts, j.key, j.flags,
        j.run_at::text as run_at, j.created_at::text as created_at, j.last_error, j.attempts
      from graphile_worker._private_jobs j join graphile_worker._private_tasks t on t.id = j.task_id
      left join graphile_worker._private_job_queues q on q.id = j.job_queue_id
      where t.identifier = 'handed' order by j.priority, j.id`.execute(fixture.db)
    return rows
  }
  const crons = async () =>
    (await sql`select * from graphile_worker._private_known_crontabs`.execute(fixture.db)).rows

  // Added while nobody works, so that what is compared stands still.
  const payloads = Object.values(PAYLOADS)
  for (const [index, payload] of payloads.entries()) {
    await sql`select graphile_worker.add_job('handed', ${payload}::json, queue_name => ${`q${index}`}, max_attempts => 7,
      job_key => ${`k${index}`}, priority => ${index - 2}::int, flags => array['f1', 'f2'],
      run_at => '2020-02-02 02:02:02.123456+00')`.execute(fixture.db)
  }
  await sql`update graphile_worker._private_jobs set attempts = 2, last_error = 'an earlier one',
    created_at = '2020-01-01 01:01:01.654321+00'`.execute(fixture.db)
  const before = await stored()
  expect(before.map(({ payload }) => payload)).toEqual(payloads)
  // Not a date that may come while the test runs.
  const crontab = '0 0 29 2 * named ?id=every&jobKey=tick {gate:"open"}'
  const victim = await fixture.worker({ pollInterval: 300, runner: { crontab } })
  await fixture.started(payloads.length)
  await until(async () => (await stored()).length === 0)
  const known = await crons()
  // A monitor without a worker recovers, so that the jobs stay to be looked at.
  await fixture.worker({ runner: { taskList: {} } })
  await victim.kill()
  await until(async () => (await stored()).length === payloads.length)
  expect(await stored()).toEqual(before.map((job) => ({ ...job, attempts: 3 })))
  expect(await crons()).toEqual(known)
})
