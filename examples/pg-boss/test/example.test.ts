import { Child, freshDatabase, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { expect, it } from 'vitest'

const file = (name: string): string => new URL(`../${name}`, import.meta.url).pathname

it('the jobs of a killed worker run in the other one, and each report is written once', async () => {
  await using database = await freshDatabase()
  const rows = async (table: string): Promise<{ state?: string }[]> =>
    (await sql<{ state?: string }>`select * from ${sql.table(table)}`.execute(database.db)).rows
  await using model = new Child(file('../model.js'), { execArgv: [], env: { PORT: '0', LATENCY: '1500' } })
  const MODEL_URL = await until(() => /http:\S+/.exec(model.output)?.[0], { what: 'the model listens' })
  const MONITOR_OPTIONS = JSON.stringify({ heartbeatInterval: 1_000, orphanThreshold: 4_000 })
  const options = { execArgv: [], env: { DATABASE_URL: database.url, MODEL_URL, MONITOR_OPTIONS } }
  await using adding = new Child(file('add-jobs.js'), options)
  expect(await adding.exited, adding.output).toEqual({ code: 0, signal: null })
  await using victim = new Child(file('worker.js'), options)
  // A job that is fetched and has no row yet is left to pg-boss when its worker dies (README).
  const busy = async (): Promise<boolean> => {
    const tasks = await rows('holdfast_tasks').catch(() => [])
    const { rows: bare } = await sql`select id from pgboss.job where state = 'active'
      and name || '/' || id not in (select job_ref from holdfast_tasks)`
      .execute(database.db)
      .catch(() => ({ rows: [0] }))
    return tasks.length > 8 && bare.length === 0
  }
  await until(busy, { what: 'the first worker is busy' })
  await using survivor = new Child(file('worker.js'), options)
  await victim.kill()
  const jobs = async () => (await rows('pgboss.job')).map(({ state }) => state)
  const isDone = async (): Promise<boolean> =>
    (await rows('holdfast_tasks')).length === 0 && (await jobs()).every((state) => state === 'completed')
  await until(isDone, { what: 'all are done' })
  expect(await jobs()).toHaveLength(25)
  const reports = (await rows('reports')) as { job: string }[]
  expect(reports).toHaveLength(20)
  expect(new Set(reports.map(({ job }) => job)).size).toBe(20)
  survivor.process.kill('SIGTERM')
  expect(await survivor.exited, survivor.output).toEqual({ code: 0, signal: null })
  expect(await rows('holdfast_processes')).toEqual([])
})
