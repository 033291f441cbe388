import { Child, freshDatabase, until } from '@holdfast/chaos'
import { startServices } from '@holdfast/services'
import { sql } from 'kysely'
import { expect, it } from 'vitest'

const file = (name: string): string => new URL(`../${name}`, import.meta.url).pathname

it('the results of a killed worker come from the other one, to those who wait', {
  timeout: 90_000,
}, async () => {
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
