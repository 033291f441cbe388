// npm test: installs, builds, checks, runs every test beside the checks, prints how many ran where and what took
// longest, and ends with one plain line. Servers are brought up by the tests that need them, each once.
//   --core            the monitor's tests alone
//   --db, --kysely    ... on one database, one version
//   --full            on all of them, whatever `npm test` leaves out
//   --part 3/6        a part of them; parts take equally long
//   --node 24         on that Node, the newest of each queue
//   --measure         with --full: writes down how long each file took, which the parts go by
// Other arguments go to vitest: `npm test -- packages/core -t paused`.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, stripVTControlCharacters } from 'node:util'
import { build, exitCode, install, pnpm, quietly, root } from './workspace.mjs'

const { own, rest } = split(process.argv.slice(2))
const part = partOf(own.part)
// Whatever vitest gets may choose some tests of a file.
const isFiltered = rest.some((arg) => arg.startsWith('-') || /:\d+$/.test(arg))
const one = own.db !== undefined || own.kysely !== undefined
refuse(own.measure && (!own.full || isFiltered), '--measure goes with --full, and with whole files')
refuse(own.node !== undefined && one, '--node goes with neither --db nor --kysely: it is the newest of each')
const projects = chosenProjects()
await install()
await build()
const isWhole = projects.length === 0 && rest.length === 0 && own.node === undefined
const checks = isWhole && (part?.index ?? 1) === 1 ? check() : Promise.resolve(true)
const node = own.node === undefined ? process.execPath : await installedNode(own.node)

const folder = mkdtempSync(join(tmpdir(), 'holdfast-test-'))
const report = join(folder, 'report.json')
const reporters = ['--reporter=default', `--reporter=${root}/testing/reporter.ts`]
const chosen = projects.flatMap((project) => ['--project', project])
const shard = part === undefined ? [] : [`--shard=${part.index}/${part.count}`]
const vitest = `${root}/node_modules/vitest/vitest.mjs`
const code = await exitCode(node, [vitest, 'run', ...reporters, ...chosen, ...shard, ...rest], {
  env: {
    HOLDFAST_TEST_REPORT: report,
    ...(own.full || one ? { HOLDFAST_TEST_FULL: '1' } : {}),
    ...(own.node === undefined ? {} : { HOLDFAST_TEST_NEWEST: '1' }),
  },
})
process.exitCode = summarize(code, await checks)

function chosenProjects() {
  if (one) return [`core on ${own.db ?? '*'}, kysely ${own.kysely ?? '*'}`]
  return own.core ? ['core on *'] : []
}

function refuse(isWrong, why) {
  if (isWrong) throw new Error(why)
}

/** Types, lint and packages, beside the tests and behind them. Answers whether all is well; says at once what isn't. */
async function check() {
  const started = performance.now()
  const { code, output } = await quietly(...pnpm('check'), constants.priority.PRIORITY_BELOW_NORMAL)
  const seconds = Math.round((performance.now() - started) / 1_000)
  console.error(code === 0 ? `Types, lint and packages are fine (${seconds} s)` : output)
  return code === 0
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
    measure: { type: 'boolean' },
    part: { type: 'string' },
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

function partOf(text) {
  if (text === undefined) return undefined
  const [index, count] = /^(\d+)\/(\d+)$/.exec(text)?.slice(1).map(Number) ?? []
  refuse(!(index >= 1 && index <= count), `--part must be like 3/6: ${text}`)
  return { index, count }
}

function summarize(exit, isChecked) {
  let result
  try {
    result = JSON.parse(readFileSync(report, 'utf8'))
  } catch (error) {
    console.log(`vitest ended with ${exit} and left no report: ${error.message}`)
    console.log('0 passed, 1 failed')
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
  // A test that only some databases or versions can run says so in its name.
  for (const [test, where] of isFiltered ? [] : Object.entries(result.skipped))
    console.log(`skipped on ${where.join('; ')}: ${test}`)
  for (const [project, what] of Object.entries(result.leftOut)) {
    if (what !== '' && (isWhole || project in result.counts))
      console.log(`left to test:full on ${project}: ${what}`)
  }
  printSlowest(result.times)
  if (own.measure) writeDown(result.times)
  for (const { project, name, message } of result.failures)
    console.log(`failed on ${project}: ${name}\n${excerpt(message)}`)
  const unrun =
    isFiltered || part !== undefined
      ? []
      : rest.filter((path) => !result.times.some(({ file }) => file.includes(path)))
  for (const path of unrun)
    console.log(`failed: no test was run of ${path}${own.full ? '' : ' (npm run test:full has more)'}`)
  for (const error of result.unhandled) console.log(`failed outside of any test:\n${excerpt(error)}`)
  if (!isChecked) console.log('types, lint or packages are not fine: what is wrong is printed above')
  total.failed += unrun.length + result.unhandled.length + (isChecked ? 0 : 1)
  if (total.passed + total.failed === 0) {
    console.log(`No test was run${own.full ? '' : ': what npm test leaves out is run by npm run test:full'}`)
    total.failed = 1
  } else if (exit !== 0 && total.failed === 0) {
    console.log(`vitest ended with ${exit}, though no test failed: why is printed above`)
    total.failed = 1
  }
  console.log(`${total.passed} passed, ${total.failed} failed`)
  return total.failed > 0 ? 1 : 0
}

/** Where the time goes: whoever adds a suite takes its minutes from another. */
function printSlowest(times) {
  const perLeg = {}
  for (const { project, seconds } of times) perLeg[project] = (perLeg[project] ?? 0) + seconds
  const print = (what, entries) => {
    console.log(`\nThe slowest ${what}, in seconds that others ran beside:`)
    for (const { name, seconds } of entries.sort((a, b) => b.seconds - a.seconds).slice(0, 10))
      console.log(`${Math.round(seconds).toString().padStart(6)}  ${name}`)
  }
  const files = times.map(({ project, file, seconds }) => ({ name: `${file} (${project})`, seconds }))
  print('files', files)
  print(
    'legs',
    Object.entries(perLeg).map(([name, seconds]) => ({ name, seconds })),
  )
  console.log('')
}

/** The beginning of a failure's message: all of it stands further up. */
function excerpt(message) {
  const lines = stripVTControlCharacters(message).split('\n').slice(0, 6)
  return lines.map((line) => `    ${line.slice(0, 240)}`).join('\n')
}

function writeDown(times) {
  const path = `${root}/testing/times.json`
  const known = JSON.parse(readFileSync(path, 'utf8'))
  for (const { project, file, seconds } of times.filter(({ isWhole }) => isWhole)) {
    known[project] ??= {}
    known[project][file] = Math.round(seconds)
  }
  const sorted = Object.entries(known)
    .sort()
    .map(([project, files]) => [project, Object.fromEntries(Object.entries(files).sort())])
  writeFileSync(path, `${JSON.stringify(Object.fromEntries(sorted), null, 2)}\n`)
}
