// npm test: installs, builds, checks, brings up the services once, runs every test, and ends with one plain line.
// Arguments go to vitest: `npm test -- packages/core`.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build, exitCode, install, pnpm, root, run } from './workspace.mjs'

const args = process.argv.slice(2)
await install()
await build()
if (args.length === 0) await run(...pnpm('check'))

const folder = mkdtempSync(join(tmpdir(), 'holdfast-test-'))
const report = join(folder, 'report.json')
const { startServices } = await import('@holdfast/services')
const services = await startServices(['postgres'], { log: (line) => console.error(line) })
let code
try {
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  code = await exitCode(`${root}/node_modules/.bin/vitest`, ['run', ...reporters, ...args], {
    env: services.urls,
  })
} finally {
  await services.stop()
}
process.exitCode = summarize(code)

function summarize(exit) {
  let result
  try {
    result = JSON.parse(readFileSync(report, 'utf8'))
  } catch (error) {
    console.error(`vitest left no report: ${error.message}`)
    return 1
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  for (const [name, count] of perPackage(result))
    console.log(`${name}: ${count.passed} passed, ${count.failed} failed`)
  const { numPassedTests: passed, numFailedTests: failed, numPendingTests: skipped } = result
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
  return passed === 0 ? 1 : exit
}

function perPackage({ testResults }) {
  const counts = new Map()
  for (const { name, assertionResults } of testResults) {
    const [folder, unit] = name.slice(root.length).split('/')
    const key = `${folder}/${unit}`
    const count = counts.get(key) ?? { passed: 0, failed: 0 }
    for (const { status } of assertionResults) if (status in count) count[status] += 1
    counts.set(key, count)
  }
  return [...counts].sort()
}
