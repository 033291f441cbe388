// What the two commands of the README share: nothing but Node and npm is taken for granted.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { constants, setPriority } from 'node:os'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))
const { packageManager, engines } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'))

// The command that failed has said why; a stack trace of ours would only hide it.
process.on('uncaughtException', (error) => {
  console.error(error.message)
  process.exit(1)
})

/** Runs a command; its output goes to stderr, so that stdout stays the caller's. Throws when it fails. */
export async function run(command, args, { env = {}, stdout = process.stderr } = {}) {
  const code = await exitCode(command, args, { env, stdout })
  if (code !== 0) throw new Error(`\`${[command, ...args].join(' ')}\` ended with ${code}`)
}

export function exitCode(command, args, { env = {}, stdout = process.stdout } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, TURBO_TELEMETRY_DISABLED: '1', ...env },
      stdio: ['inherit', stdout, 'inherit'],
    })
    // Ctrl-C reaches the child by itself; this process waits for its end, so that it can clean up.
    const wait = () => {}
    process.on('SIGINT', wait)
    const terminate = () => child.kill('SIGTERM')
    process.on('SIGTERM', terminate)
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      process.off('SIGINT', wait)
      process.off('SIGTERM', terminate)
      resolve(code ?? (signal === 'SIGINT' ? 130 : 1))
    })
  })
}

/** Runs a command whose output, stdout and stderr together, is for the caller to show. */
export function quietly(command, args, priority = constants.priority.PRIORITY_NORMAL) {
  const env = { ...process.env, TURBO_TELEMETRY_DISABLED: '1' }
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
    child.on('spawn', () => setPriority(child.pid, priority))
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => (output += text))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, output }))
  })
}

/** pnpm of the version this workspace names, whether it is installed or not. */
export const pnpm = (...args) => ['npx', ['--yes', packageManager, ...args]]

/** Installs the dependencies where the lockfile says something new. */
export async function install() {
  requireNode()
  const stamp = `${root}/node_modules/.holdfast-lock`
  const lock = createHash('sha256')
    .update(readFileSync(`${root}/pnpm-lock.yaml`))
    .digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return
  console.error(`Installing the workspace's dependencies with ${packageManager} …`)
  await run(...pnpm('install', '--frozen-lockfile', '--reporter=append-only'), { env: { CI: 'true' } })
  writeFileSync(stamp, lock)
}

/** Builds packages (all without a filter); what is built already costs nothing. Silent unless it fails. */
export async function build(...filters) {
  const selected = filters.map((filter) => `--filter=${filter}`)
  const [command, args] = pnpm('exec', 'turbo', 'run', 'build', '--output-logs=errors-only', ...selected)
  const notice = setTimeout(() => console.error('Building the packages …'), 1_500)
  const { code, output } = await quietly(command, args)
  clearTimeout(notice)
  if (code !== 0) throw new Error(`${output}\nThe build failed.`)
}

function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  console.error(`Holdfast's workspace needs Node ${engines.node}; this is ${process.versions.node}.`)
  process.exit(1)
}
