import { connect, patience } from '@holdfast/chaos'
import { startServices } from '@holdfast/services'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { RunningDemo } from './support/run-demo.js'

test('300 jobs, one killed worker: nothing is lost and nothing doubled', async () => {
  const startedAt = performance.now()
  const demo = new RunningDemo(['--json'])
  const code = await demo.ended
  expect(code, demo.stderr).toBe(0)
  expect(performance.now() - startedAt).toBeLessThan(patience(60_000))

  expect(demo.stdout).toMatch(/^\{.*\}\n$/)
  const result = JSON.parse(demo.stdout)
  expect(result).toMatchObject({
    jobs: 300,
    finished: 300,
    lost: 0,
    recoveredTwice: 0,
    finishedTwice: 0,
    ok: true,
    problems: [],
  })
  expect(result.inFlightAtKill).toBeGreaterThanOrEqual(30)
  expect(result.recovered).toBe(result.inFlightAtKill)
  expect(result.detectionMs).toBeGreaterThan(0)
  expect(result.detectionMs).toBeLessThan(patience(10_000))
  expect(result.recoveredMs).toBeGreaterThanOrEqual(result.detectionMs)
  expect(result.rerunMs).toBeGreaterThan(result.detectionMs)

  expect(demo.stderr).toMatch(/SIGKILL: worker \d \(pid \d+\) held \d+ jobs: \d+ guard, \d+ hand-off/)
  expect(demo.stderr).toContain('300 of 300 jobs finished: 0 lost, 0 recovered twice, 0 finished twice.')
  expect(demo.stderr).toContain('Plain graphile-worker would have kept')
})

test('without Holdfast the jobs of the killed worker stay locked', async () => {
  const demo = new RunningDemo(['--without-holdfast', '--json'])
  const code = await demo.ended
  expect(code, demo.stderr).toBe(0)
  expect(demo.stdout).toMatch(/^\{.*\}\n$/)
  const result = JSON.parse(demo.stdout)
  expect(result).toMatchObject({ jobs: 300, recovered: 0, graphileReleasesAfterMs: 4 * 3_600_000, ok: true })
  expect(result.inFlightAtKill).toBeGreaterThanOrEqual(30)
  expect(result.stillLocked).toBe(result.inFlightAtKill)
  expect(result.finished).toBeLessThan(300)
  expect(result.lockedForMs).toBeGreaterThan(5_000)
  const said = demo.stderr.replaceAll('\n', ' ')
  expect(said).toMatch(/\d+ are still locked by the dead worker \d+\.\d s after the kill/)
  expect(said).toContain('release them 4 hours after they were locked')
})

test('where there is no terminal it says in plain lines who was killed and who found out', async () => {
  const demo = new RunningDemo(['--jobs', '60'])
  expect(await demo.ended, demo.stdout).toBe(0)
  expect(demo.stderr).toBe('')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: there must be none
  expect(demo.stdout).not.toMatch(/\x1b/)
  const [, victim] = /SIGKILL: (worker \d)/.exec(demo.stdout)!
  expect(demo.stdout).toMatch(
    new RegExp(`^ +\\d+\\.\\d s {2}worker \\d found ${victim} dead after \\d\\.\\d s and recovered`, 'm'),
  )
  expect(demo.stdout).toMatch(/all \d+ have started again/)
  expect(demo.stdout).toContain('60 of 60 jobs finished')
  expect(demo.stdout.split('\n').length).toBeLessThan(30)
  expect(Math.max(...demo.stdout.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(80)
})

test('uses the Postgres it is given, and leaves it as it was', async () => {
  await using services = await startServices(['postgres'], { private: true })
  const { url } = services.get('postgres')
  const db = connect(url, 1)
  const databases = async () => (await sql`select datname from pg_database order by datname`.execute(db)).rows
  const before = await databases()
  const demo = new RunningDemo(['--jobs', '20'], { HOLDFAST_POSTGRES_URL: url })
  await demo.said('enqueued')
  expect(await databases()).toHaveLength(before.length + 1)
  expect(await demo.ended, demo.stdout).toBe(0)
  expect(demo.stdout).toContain('a new database on the Postgres of HOLDFAST_POSTGRES_URL')
  expect(await databases()).toEqual(before)
  await db.destroy()
})

test.each([[['--jobs', '3']], [['--jobs', 'many']], [['--nonsense']]])('refuses %j', async (args) => {
  const demo = new RunningDemo(args)
  expect(await demo.ended).toBe(2)
  expect(demo.stdout).toBe('')
  expect(demo.stderr).toMatch(/^error: /)
})

test('says what went wrong when it could not be run, in JSON too', async () => {
  const demo = new RunningDemo(['--json'], { HOLDFAST_POSTGRES_URL: 'postgres://nobody@127.0.0.1:1/none' })
  expect(await demo.ended).toBe(1)
  expect(JSON.parse(demo.stdout)).toEqual({ ok: false, error: expect.stringContaining('ECONNREFUSED') })
  expect(demo.stderr).toContain('The demo could not be run: ')
})
