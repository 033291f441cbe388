import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { legUrl } from '@holdfast/chaos'
import { expect, it } from 'vitest'

it('the guide’s adapter passes the conformance kit under node:test', async ({ signal }) => {
  // Node's runner would take this process for one of its own.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--test', '--test-reporter=tap', 'conformance.test.js'],
    {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      env: { ...env, HOLDFAST_POSTGRES_URL: legUrl() },
      signal,
      maxBuffer: 16 * 1024 * 1024,
    },
  )
  const counts = Object.fromEntries(
    [...stdout.matchAll(/^# (tests|pass|fail|skipped) (\d+)$/gm)].map(([, name, count]) => [
      name,
      Number(count),
    ]),
  )
  console.log(`node:test: ${counts.pass} passed, ${counts.fail} failed`)
  expect(counts).toMatchObject({ fail: 0, skipped: 0 })
  expect(counts.pass).toBeGreaterThan(40)
})
