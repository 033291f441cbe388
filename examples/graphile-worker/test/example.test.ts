import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Child, freshDatabase, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { expect, it } from 'vitest'

const file = (name: string): string => new URL(`../${name}`, import.meta.url).pathname

it('the quick start runs every job, also those of a worker that is killed', async () => {
  await using database = await freshDatabase()
  const rows = async (table: string): Promise<unknown[]> =>
    (await sql`select * from ${sql.table(table)}`.execute(database.db)).rows
  await using model = new Child(file('../model.js'), { execArgv: [], env: { PORT: '0', LATENCY: '2000' } })
  const MODEL_URL = await until(() => /http:\S+/.exec(model.output)?.[0], { what: 'the model listens' })
  const MONITOR_OPTIONS = JSON.stringify({ heartbeatInterval: 1_000, orphanThreshold: 4_000 })
  const options = { execArgv: [], env: { DATABASE_URL: database.url, MODEL_URL, MONITOR_OPTIONS } }
  await using adding = new Child(file('add-jobs.js'), options)
  expect(await adding.exited, adding.output).toEqual({ code: 0, signal: null })
  await using victim = new Child(file('worker.js'), options)
  // A row for each of the jobs that are handed off, and one for the guarded.
  const busy = async (): Promise<boolean> => (await rows('holdfast_tasks').catch(() => [])).length > 5
  await until(busy, { what: 'the first worker is busy' })
  await victim.kill()
  await using survivor = new Child(file('worker.js'), options)
  const left = sql`
    select id from graphile_worker.jobs union all select null from holdfast_tasks where job_ref is not null`
  const isDone = async (): Promise<boolean> => (await left.execute(database.db)).rows.length === 0
  await until(isDone, { what: 'all are done' })
  expect(await rows('summaries')).toHaveLength(10)
  expect(await rows('answers')).toHaveLength(10)
  survivor.process.kill('SIGTERM')
  expect(await survivor.exited, survivor.output).toEqual({ code: 0, signal: null })
  for (const table of ['graphile_worker.jobs', 'holdfast_tasks', 'holdfast_processes']) {
    expect(await rows(table), table).toEqual([])
  }
})

it('random harm to workers and Postgres loses no job and doubles none', async ({ signal }) => {
  const { DATABASE_URL, ...env } = process.env // the chaos is to stop its own
  const args = [file('chaos.js'), '--seconds', '12', '--json']
  const run = promisify(execFile)(process.execPath, args, { env, signal })
  const { stdout } = await run
  expect(stdout).toMatch(/^\{.*\}\n$/)
  const result = JSON.parse(stdout)
  expect(result).toMatchObject({ lost: 0, doubled: 0, quarantined: 0 })
  for (const count of ['jobs', 'kills', 'pauses', 'outages', 'recovered']) {
    expect(result[count], count).toBeGreaterThan(0)
  }
})
