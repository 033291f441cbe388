import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Child, freshDatabase, until } from '@holdfast/chaos'
import { startServices } from '@holdfast/services'
import { sql } from 'kysely'
import { expect, it } from 'vitest'

const file = (name: string): string => new URL(`../${name}`, import.meta.url).pathname

it('the answers of a killed worker come from the other one, to those who wait', async () => {
  await using services = await startServices(['redis'], { private: true })
  await using database = await freshDatabase()
  const env = {
    ...{ DATABASE_URL: database.url, REDIS_URL: services.get('redis').url, PORT: '0', LATENCY: '2000' },
    MONITOR_OPTIONS: JSON.stringify({ heartbeatInterval: 1_000, orphanThreshold: 4_000 }),
  }
  const listening = (child: Child): Promise<string> =>
    until(() => /http:\S+/.exec(child.output)?.[0], { what: 'it listens' })
  await using model = new Child(file('../model.js'), { execArgv: [], env })
  const options = { execArgv: [], env: { ...env, MODEL_URL: await listening(model) } }
  await using api = new Child(file('api.js'), options)
  const url = await listening(api)
  await using victim = new Child(file('worker.js'), options)
  const topics = Array.from({ length: 8 }, (_, n) => `bees ${n}`)
  const answers = topics.map(async (topic) => {
    const response = await fetch(`${url}/reports`, { method: 'POST', body: JSON.stringify({ topic }) })
    return { status: response.status, ...((await response.json()) as { id: string; report: string }) }
  })
  const tasks = async (): Promise<unknown[]> =>
    (await sql`select id from holdfast_tasks`.execute(database.db)).rows
  await until(async () => (await tasks()).length === 8, { what: 'the worker is busy' })
  await using survivor = new Child(file('worker.js'), options)
  await victim.kill()
  const all = await Promise.all(answers)
  expect(all).toEqual(
    topics.map((topic) => ({ status: 200, id: expect.any(String), report: `All about ${topic}.` })),
  )
  const later = await fetch(`${url}/reports/${all[0]!.id}`)
  expect([later.status, await later.json()]).toEqual([200, { id: all[0]!.id, report: 'All about bees 0.' }])
  expect((await fetch(`${url}/reports/none`)).status).toBe(404)
  for (const child of [survivor, api]) {
    child.process.kill('SIGTERM')
    expect(await child.exited, child.output).toEqual({ code: 0, signal: null })
  }
  expect(await tasks()).toEqual([])
  expect((await sql`select * from holdfast_processes`.execute(database.db)).rows).toEqual([])
})

it('random harm to workers and Redis loses no job and doubles none', async ({ signal }) => {
  const { DATABASE_URL, REDIS_URL, HOLDFAST_REDIS_URL, ...env } = process.env // its Redis is to be wiped
  const args = [file('chaos.js'), '--seconds', '12', '--json']
  const run = promisify(execFile)(process.execPath, args, { env, signal })
  const { stdout } = await run
  expect(stdout).toMatch(/^\{.*\}\n$/)
  const result = JSON.parse(stdout)
  expect(result).toMatchObject({ lost: 0, doubled: 0 })
  for (const count of ['jobs', 'kills', 'pauses', 'wipes', 'recovered']) {
    expect(result[count], count).toBeGreaterThan(0)
  }
})
