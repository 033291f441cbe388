import { Child, freshDatabase, until } from '@holdfast/chaos'
import { type Services, startServices } from '@holdfast/services'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const file = (name: string): string => new URL(`../${name}`, import.meta.url).pathname

it('the results of a killed worker come from the other one, to those who wait', async () => {
  await using services = await startServices(['redis'], { private: true })
  await using database = await freshDatabase()
  const env = {
    ...{ DATABASE_URL: database.url, REDIS_URL: services.get('redis').url, PORT: '0', LATENCY: '2000' },
    MONITOR_OPTIONS: JSON.stringify({ heartbeatInterval: 1_000, orphanThreshold: 4_000 }),
  }
  const said = (child: Child, what: RegExp): Promise<string> =>
    until(() => what.exec(child.output)?.[0], { what: `it says ${what}` })
  await using model = new Child(file('../model.js'), { execArgv: [], env })
  const options = { execArgv: [], env: { ...env, MODEL_URL: await said(model, /http:\S+/) } }
  await using victim = new Child(file('worker.js'), options)
  await said(victim, /works/)
  await using producer = new Child(file('add-jobs.js'), options)
  const tasks = async (): Promise<unknown[]> =>
    (await sql`select id from holdfast_tasks`.execute(database.db)).rows
  await until(async () => (await tasks()).length === 8, { what: 'the worker is busy' })
  await using survivor = new Child(file('worker.js'), options)
  await victim.kill()
  expect(await producer.exited, producer.output).toEqual({ code: 0, signal: null })
  const results = producer.output.trim().split('\n').slice(1).sort()
  expect(results).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((n) => `${n}: All about bulls ${n}.`))
  const { rows } = await sql<{ id: string }>`select id from reports`.execute(database.db)
  expect(rows).toHaveLength(8)
  survivor.process.kill('SIGTERM')
  expect(await survivor.exited, survivor.output).toEqual({ code: 0, signal: null })
  expect(await tasks()).toEqual([])
  expect((await sql`select * from holdfast_processes`.execute(database.db)).rows).toEqual([])
})

describe('the worker ends on SIGTERM', () => {
  let services: Services
  beforeAll(async () => {
    services = await startServices(['redis'], { private: true })
  })
  afterAll(() => services.stop())

  interface Running {
    readonly worker: Child
    readonly options: { readonly execArgv: string[]; readonly env: Record<string, string> }
    rows(table: 'tasks' | 'processes'): Promise<unknown[]>
  }

  async function withWorker(test: (running: Running) => Promise<void>): Promise<void> {
    await using database = await freshDatabase()
    const env = { DATABASE_URL: database.url, REDIS_URL: services.get('redis').url }
    await using model = new Child(file('../model.js'), {
      ...{ execArgv: [], env: { ...env, PORT: '0', LATENCY: '1000' } },
    })
    const MODEL_URL = await until(() => /http:\S+/.exec(model.output)?.[0])
    const options = { execArgv: [], env: { ...env, MODEL_URL } }
    await using worker = new Child(file('worker.js'), options)
    const rows: Running['rows'] = async (table) =>
      (await sql`select * from ${sql.id(`holdfast_${table}`)}`.execute(database.db)).rows
    await test({ worker, options, rows })
  }

  const ends = ({ process, exited, output }: Child): Promise<unknown> => {
    process.kill('SIGTERM')
    const late = new Promise((_, reject) =>
      setTimeout(
        () => reject(new Error(`It has not ended within 20 s; it wrote:\n${output}`)),
        20_000,
      ).unref(),
    )
    return Promise.race([exited, late])
  }

  it('though it never had a job', () =>
    withWorker(async ({ worker, rows }) => {
      await until(() => worker.output.includes('works'))
      expect(await ends(worker)).toEqual({ code: 0, signal: null })
      expect(await rows('processes')).toEqual([])
    }))

  it('with what it was at work on done', () =>
    withWorker(async ({ worker, options, rows }) => {
      await until(() => worker.output.includes('works'))
      await using producer = new Child(file('add-jobs.js'), options)
      await until(async () => (await rows('tasks')).length === 8, { what: 'the worker is busy' })
      expect(await ends(worker)).toEqual({ code: 0, signal: null })
      expect(await producer.exited, producer.output).toEqual({ code: 0, signal: null })
      expect([await rows('tasks'), await rows('processes')]).toEqual([[], []])
    }))

  it('however early that comes', () =>
    withWorker(async ({ worker, rows }) => {
      // Its own handlers may be there already, or not yet.
      await until(() =>
        rows('processes').then(
          (found) => found.length > 0,
          () => false,
        ),
      )
      const how = await ends(worker)
      expect([
        { code: 0, signal: null },
        { code: null, signal: 'SIGTERM' },
      ]).toContainEqual(how)
      expect(await rows('tasks')).toEqual([])
    }))
})
