import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fixture, type JobState } from './support/fixture.js'

/** What JSON.parse and jsonb would change or refuse. */
const PAYLOADS = {
  'odd text': '{"gate":"open", "nul":"\\u0000", "lone":"\\ud800", "é":"\\u00e9", "a":1, "a":2}',
  numbers: '{"gate":"open", "big":12345678901234567890, "e":1.50, "huge":1e400, "minus":-0}',
  array: '[{"gate":"open"},  [], null, {"x": [1, 2]}]',
  null: 'null',
}

describe('a job of a killed process', () => {
  let fixture: Fixture
  beforeEach(async () => {
    fixture = await Fixture.create()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  /** All that graphile-worker stores of a job, but for its id and what a run changes. */
  const stored = async (): Promise<unknown[]> => {
    const { rows } = await sql`
      select t.identifier, j.payload::text as payload, q.queue_name, j.priority, j.max_attempts, j.key, j.flags,
        j.run_at::text as run_at, j.created_at::text as created_at, j.last_error, j.attempts
      from graphile_worker._private_jobs j join graphile_worker._private_tasks t on t.id = j.task_id
      left join graphile_worker._private_job_queues q on q.id = j.job_queue_id order by j.priority, j.id`.execute(
      fixture.db,
    )
    return rows
  }

  const add = async (task: string, payload: string, priority: number): Promise<void> => {
    await sql`select graphile_worker.add_job(${task}, ${payload}::json, queue_name => ${`q${priority}`},
      max_attempts => 7, job_key => ${`k${priority}`}, priority => ${priority}::int, flags => array['f1', 'f2'],
      run_at => '2020-02-02 02:02:02.123456+00')`.execute(fixture.db)
    await sql`update graphile_worker._private_jobs set attempts = 2, last_error = 'an earlier one',
      created_at = '2020-01-01 01:01:01.654321+00' where key = ${`k${priority}`}`.execute(fixture.db)
  }

  it.each(['named', 'handed', 'tracked'] as const)('is as it was, to the byte (%s)', async (task) => {
    const payloads = Object.values(PAYLOADS)
    // Added while nobody works, so that what is compared stands still.
    for (const [index, payload] of payloads.entries()) await add(task, payload, index - 2)
    const before = (await stored()) as JobState[]
    expect(before.map(({ payload }) => payload)).toEqual(payloads)
    const victim = await fixture.worker({ pollInterval: 300 })
    await fixture.started(payloads.length)
    if (task === 'handed') await until(async () => (await fixture.jobs()).length === 0)
    // A monitor without a worker recovers, so that the jobs stay to be looked at.
    await fixture.worker({ runner: { taskList: {} } })
    await victim.kill()
    await until(async () => {
      const jobs = await fixture.jobs()
      return jobs.length === payloads.length && jobs.every(({ lockedBy }) => lockedBy === null)
    })
    expect(await stored()).toEqual(before.map((job) => ({ ...job, attempts: 3 })))
  })

  it('keeps what cron wrote of it, and cron adds it no second time', async () => {
    const crontab = '* * * * * named ?id=every&jobKey=tick {gate:"open"}'
    const victim = await fixture.worker({ runner: { crontab } })
    await sql`select graphile_worker.add_job('handed', '{"gate":"open","_cron":{"ts":"2020-02-02T02:02:00.000Z"}}')`.execute(
      fixture.db,
    )
    await fixture.started(1)
    await until(async () => (await fixture.jobs()).every(({ identifier }) => identifier !== 'handed'))
    const crons = await sql`select * from graphile_worker._private_known_crontabs`.execute(fixture.db)
    await fixture.worker({ runner: { taskList: {} } })
    await victim.kill()
    await until(async () => (await fixture.jobs()).some(({ identifier }) => identifier === 'handed'))
    const [job] = (await fixture.jobs()).filter(({ identifier }) => identifier === 'handed')
    expect(job!.payload).toBe('{"gate":"open","_cron":{"ts":"2020-02-02T02:02:00.000Z"}}')
    expect(
      (await sql`select * from graphile_worker._private_known_crontabs`.execute(fixture.db)).rows,
    ).toEqual(crons.rows)
  })
})
