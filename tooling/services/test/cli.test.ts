import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { describe, expect, test, vi } from 'vitest'
import { clientOf } from './support/clients.js'
import { leftovers, ownTemp } from './support/temp.js'

const CLI = join(import.meta.dirname, '..', 'dist', 'cli.js')

function startCli(args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  return spawn(process.execPath, [CLI, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

async function runCli(args: readonly string[], env?: NodeJS.ProcessEnv) {
  const cli = startCli(args, env)
  const [stdout, stderr, [code]] = await Promise.all([
    text(cli.stdout!),
    text(cli.stderr!),
    once(cli, 'exit'),
  ])
  return { code: code as number | null, stdout, stderr }
}

describe('up', () => {
  test('prints a variable a line, keeps the services up, and removes them at Ctrl-C', async () => {
    const tmp = ownTemp()
    const cli = startCli(['up', 'redis', '--private'], { TMPDIR: tmp })
    const [line] = (await once(createInterface({ input: cli.stdout! }), 'line')) as [string]
    expect(line).toMatch(/^HOLDFAST_REDIS_URL=redis:\/\/127\.0\.0\.1:\d+$/)
    expect(await clientOf(line.replace('HOLDFAST_REDIS_URL=', '')).version()).toMatch(/^\d/)
    await once(createInterface({ input: cli.stderr! }), 'line')
    cli.kill('SIGINT')
    expect(await once(cli, 'exit')).toEqual([0, null])
    expect(leftovers(tmp)).toEqual([])
  })

  test('prints one line of JSON with --json', async () => {
    const cli = startCli(['up', '--json', 'redis', 'postgres@14', '--private'])
    const [line] = (await once(createInterface({ input: cli.stdout! }), 'line')) as [string]
    expect(JSON.parse(line)).toEqual({
      HOLDFAST_REDIS_URL: expect.stringContaining('redis://'),
      HOLDFAST_POSTGRES_URL: expect.stringContaining('postgres://'),
    })
    cli.kill('SIGTERM')
    await once(cli, 'exit')
  })

  test('quotes a URL that a shell would take apart', async () => {
    const cli = startCli(['up', 'postgres'], { HOLDFAST_POSTGRES_URL: 'postgres://me@db/x?a=1&b=2' })
    const [line] = (await once(createInterface({ input: cli.stdout! }), 'line')) as [string]
    expect(line).toBe("HOLDFAST_POSTGRES_URL='postgres://me@db/x?a=1&b=2'")
    cli.kill('SIGKILL')
    await once(cli, 'exit')
  })
})

describe('run', () => {
  test('gives the command the URLs, and exits as it does', async () => {
    const tmp = ownTemp()
    const script = 'console.log(process.env.HOLDFAST_REDIS_URL, ...process.argv.slice(1)); process.exit(7)'
    const args = ['run', 'redis', '--private', '--', process.execPath, '-e', script, '--', '--json']
    const { code, stdout } = await runCli(args, { TMPDIR: tmp })
    expect(stdout).toMatch(/^redis:\/\/127\.0\.0\.1:\d+ --json\n$/)
    expect(code).toBe(7)
    expect(leftovers(tmp)).toEqual([])
  })

  test('keeps the servers up until the command has ended', async () => {
    const script = `
      const { hostname, port } = new URL(process.env.HOLDFAST_REDIS_URL)
      let answers = 0
      const socket = require('node:net').connect(port, hostname, () => socket.write('PING\\r\\n'))
      socket.on('error', () => process.exit(5)).on('close', () => process.exit(6))
      socket.on('data', () => (++answers === 20 ? process.exit(0) : setTimeout(() => socket.write('PING\\r\\n'), 50)))`
    const { code } = await runCli(['run', 'redis', '--private', '--', process.execPath, '-e', script])
    expect(code).toBe(0)
  })

  test('hands a signal on and waits for the command to end', async () => {
    const tmp = ownTemp()
    const script =
      "process.on('SIGTERM', () => { console.log('bye'); process.exit(3) }); console.log('hi'); setInterval(() => {}, 1e6)"
    const cli = startCli(['run', 'redis', '--private', '--', process.execPath, '-e', script], { TMPDIR: tmp })
    const lines = createInterface({ input: cli.stdout! })
    expect(await once(lines, 'line')).toEqual(['hi'])
    const bye = once(lines, 'line')
    cli.kill('SIGTERM')
    expect(await bye).toEqual(['bye'])
    expect(await once(cli, 'exit')).toEqual([3, null])
    await vi.waitFor(() => expect(leftovers(tmp)).toEqual([]))
  })

  test('exits with 128 and the number of the signal that ended the command', async () => {
    const { code } = await runCli([
      'run',
      'redis',
      '--',
      process.execPath,
      '-e',
      "process.kill(process.pid, 'SIGKILL')",
    ])
    expect(code).toBe(137)
  })

  test('exits with 127 when the command cannot be started', async () => {
    const { code, stderr } = await runCli(['run', 'redis', '--', '/nonexistent/command'])
    expect(stderr).toContain('cannot run /nonexistent/command')
    expect(code).toBe(127)
  })

  test('exits with 69 and the reason when a service is not available', async () => {
    const { code, stderr } = await runCli(['run', 'postgres@9', '--private', '--', 'true'])
    expect(stderr).toContain('set HOLDFAST_POSTGRES_URL')
    expect(code).toBe(69)
  })
})

test.each([[[]], [['up']], [['run', 'redis']], [['up', 'nix']], [['down']], [['up', 'redis', '--nix']]])(
  'exits with 2 for the arguments %j',
  async (args) => {
    expect((await runCli(args)).code).toBe(2)
  },
)

test('explains itself with --help', async () => {
  const { code, stdout } = await runCli(['--help'])
  expect(code).toBe(0)
  for (const word of ['up ', 'run ', 'postgres', 'Exit codes']) expect(stdout).toContain(word)
})
