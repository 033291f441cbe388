import { Child, freshDatabase, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { expect, it } from 'vitest'

const file = (name: string): string => new URL(`../${name}`, import.meta.url).pathname

it('the quick start runs every job, also those of a worker that is killed', {
  timeout: 120_000,
}, async () => {
  await using database = await freshDatabase()
  const options = { execArgv: [], env: { DATABASE_URL: database.url } }
  await using adding = new Child(file('add-jobs.js'), options)
  expect((await adding.exited).code).toBe(0)
  await using victim = new Child(file('worker.js'), options)
  const tasksOf = async (child: Child): Promise<number> => {
    const { rows } = await sql<{ count: number }>`
      select count(*)::int as count from holdfast_tasks where process_id like ${`%:${child.pid}:%`}`.execute(
      database.db,
    )
    return rows[0]!.count
  }
  // Its pool's guard and ten handed-off jobs.
  await until(
    () =>
      tasksOf(victim)
        .catch(() => 0)
        .then((count) => count >= 5),
    { what: 'the first worker is busy' },
  )
  await victim.kill()
  await using survivor = new Child(file('worker.js'), options)
  const lines = (): string[] => (victim.output + survivor.output).split('\n')
  const done = (what: RegExp): number => new Set(lines().filter((line) => what.test(line))).size
  await until(() => done(/^sent to /) === 10 && done(/^answered /) === 10, {
    what: 'all are done',
    timeout: 90_000,
  })
  survivor.process.kill('SIGTERM')
  await survivor.exited
  expect((await sql`select * from holdfast_tasks`.execute(database.db)).rows).toEqual([])
  expect((await sql`select * from graphile_worker.jobs`.execute(database.db)).rows).toEqual([])
  expect((await sql`select * from holdfast_processes`.execute(database.db)).rows).toEqual([])
})
