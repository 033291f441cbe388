import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '@holdfast/chaos'
import { expect, onTestFinished, test } from 'vitest'
import { descendants, isRunning, RunningDemo } from './support/run-demo.js'

test.each([
  ['Ctrl-C while jobs run', 'SIGINT', 'enqueued'],
  ['Ctrl-C after the kill', 'SIGINT', 'SIGKILL: '],
  ['SIGTERM while the workers start', 'SIGTERM', 'slow HTTP server is up'],
] as const)('%s leaves nothing behind', async (_, signal, moment) => {
  const { demo, pids, temp } = await demoAt(moment)
  demo.process.kill(signal)
  expect(await demo.ended).toBe(130)
  expect(demo.stdout).toContain(`${signal}: ending the workers, the server and Postgres`)
  expect(pids.filter(isRunning)).toEqual([])
  expect(readdirSync(temp)).toEqual([])
})

test('when the demo itself is killed, everything it started goes, too', async () => {
  const { demo, pids, temp } = await demoAt('enqueued')
  demo.process.kill('SIGKILL')
  await until(() => !pids.some(isRunning), { what: 'all processes are gone' })
  await until(() => readdirSync(temp).length === 0, { what: 'the data are gone' })
})

/** A demo that has just said so, and the processes it has by then. */
async function demoAt(moment: string) {
  const temp = mkdtempSync(join(tmpdir(), 'demo-test-'))
  onTestFinished(() => rmSync(temp, { recursive: true, force: true }))
  await chmod(temp, 0o777) // Postgres runs as another user when the tests run as root.
  const demo = new RunningDemo([], { TMPDIR: temp })
  await demo.said(moment)
  const pids = descendants(demo.process.pid!)
  expect(pids.length).toBeGreaterThan(5)
  expect(readdirSync(temp)).not.toEqual([])
  return { demo, pids, temp }
}
