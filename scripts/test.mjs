// npm test: installs, builds, checks, brings up the services once, runs every test, prints how many ran where, and ends
// with one plain line. `--core` runs the monitor's tests alone, `--db <name>` and `--kysely <version>` on one database
// and version, `--full` on all of them, `--node <version>` everything that a process loads on that Node. Other arguments go to vitest: `npm test -- packages/core -t paused`.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { build, exitCode, install, pnpm, root, run } from './workspace.mjs'

const { own, rest } = split(process.argv.slice(2))
const one = own.db !== undefined || own.kysely !== undefined
const projects = chosenProjects()
await install()
await build()
if (projects.length === 0 && rest.length === 0) await run(...pnpm('check'))
const node = own.node === undefined ? process.execPath : await installedNode(own.node)

const folder = mkdtempSync(join(tmpdir(), 'holdfast-test-'))
const report = join(folder, 'counts.json')
const { startServices } = await import('@holdfast/services')
const needed =
  own.db === undefined ? ['postgres', 'postgres@14', 'pgbouncer', 'mariadb', 'mysql', 'redis'] : [own.db]
const services = await startServices(needed, { log: (line) => console.error(line) })
let code
try {
  const reporters = ['--reporter=default', `--reporter=${root}/scripts/count-reporter.mjs`]
  const chosen = projects.flatMap((project) => ['--project', project])
  const vitest = `${root}/node_modules/vitest/vitest.mjs`
  code = await exitCode(node, [vitest, 'run', ...reporters, ...chosen, ...rest], {
    env: {
      ...services.urls,
      HOLDFAST_TEST_COUNTS: report,
      ...(own.full || one ? { HOLDFAST_TEST_FULL: '1' } : {}),
    },
  })
} finally {
  await services.stop()
}
process.exitCode = summarize(code)

function chosenProjects() {
  if (one) return [`core on ${own.db ?? '*'}, kysely ${own.kysely ?? '*'}`]
  if (own.core) return ['core on *']
  const queues = ['graphile-worker 0.18.0', 'bee-queue 2.0.0', 'bullmq 6.7.0', 'pg-boss 12.38.0']
  const newest = ['core on postgres, *', ...queues.map((queue) => `${queue} on postgres`)]
  return own.node === undefined || rest.some((arg) => arg.startsWith('--project')) ? [] : newest
}

/** Another Node than the one that runs this, from npm: its path. */
async function installedNode(version) {
  const [command, args] = [
    'npx',
    ['--yes', '--package', `node@${version}`, '--call', 'node -p process.execPath'],
  ]
  const path = execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim()
  console.error(`On Node ${execFileSync(path, ['--version'], { encoding: 'utf8' }).trim()}`)
  return path
}

/** Our own options, and what vitest gets. */
function split(args) {
  const options = {
    core: { type: 'boolean' },
    full: { type: 'boolean' },
    db: { type: 'string' },
    kysely: { type: 'string' },
    node: { type: 'string' },
  }
  // pnpm passes its own `--` on.
  const given = args.filter((arg, index) => arg !== '--' || args.indexOf('--') !== index)
  const { values, tokens } = parseArgs({ args: given, options, strict: false, tokens: true })
  const ours = new Set()
  for (const token of tokens) {
    if (token.kind !== 'option' || !(token.name in options)) continue
    ours.add(token.index)
    if (options[token.name].type === 'string' && !token.inlineValue) ours.add(token.index + 1)
  }
  const own = Object.fromEntries(Object.entries(values).filter(([name]) => name in options))
  return { own, rest: given.filter((_, index) => !ours.has(index)) }
}

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
  const total = { passed: 0, failed: 0, skipped: 0 }
  const line = ({ passed, failed, skipped }) =>
    `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
  console.log('')
  for (const [project, count] of Object.entries(result.counts).sort()) {
    for (const state of Object.keys(total)) total[state] += count[state]
    if (count.passed + count.failed + count.skipped > 0) console.log(`${project}: ${line(count)}`)
  }
  // A test that only some databases can run says so in its name.
  for (const [test, where] of Object.entries(result.skipped))
    console.log(`skipped on ${where.join('; ')}: ${test}`)
  for (const [project, files] of Object.entries(result.leftOut))
    console.log(`left to test:full on ${project}: ${files.join(', ')}`)
  if (result.unhandled > 0) console.log(`${result.unhandled} errors outside of any test`)
  console.log(`${total.passed} passed, ${total.failed + result.unhandled} failed`)
  return total.passed === 0 ? 1 : exit
}
