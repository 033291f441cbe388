/*
 * The process that owns the servers. It lives in a session of its own, where no Ctrl-C reaches it, and its IPC
 * channel is tied to the caller: when the caller ends, in whatever way, the channel closes, and the servers and
 * their folder go.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, closeSync, mkdtempSync, openSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isRunning, killTree, processTree, signal } from './process/process-tree.js'
import type { Message, Request, SpawnOrder } from './process/protocol.js'
import { waitUntil } from './wait-until.js'

const END_TIMEOUT_MS = 5_000
const running = new Map<ChildProcess, NodeJS.Signals>()
let finishing: Promise<void> | undefined

process.on('message', (request: Request) => {
  if (request.type === 'spawn') start(request.id, request.order)
  else finish()
})
process.on('disconnect', finish)
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, finish)
process.on('uncaughtException', fail)
process.on('unhandledRejection', fail)

const folder = mkdtempSync(join(process.argv[2]!, 'holdfast-'))
// A server that runs as another user has to get through to its own folder in here.
chmodSync(folder, 0o711)
process.chdir(folder)
if (process.connected) tell({ type: 'ready', folder })
else finish()

function start(id: number, order: SpawnOrder): void {
  // The caller may have gone while its last order was on the way.
  if (finishing) return
  const log = openSync(order.logFile, 'a')
  const child = spawn(order.command, order.args, {
    cwd: order.cwd,
    env: order.env,
    stdio: ['ignore', log, log],
    detached: true,
    ...(order.uid !== undefined && order.gid !== undefined ? { uid: order.uid, gid: order.gid } : {}),
  })
  closeSync(log)
  child.once('error', (error: NodeJS.ErrnoException) => {
    tell({ type: 'refused', id, code: error.code ?? 'UNKNOWN', message: error.message })
  })
  if (child.pid === undefined) return
  running.set(child, order.endSignal)
  child.once('exit', (code, name) => {
    running.delete(child)
    tell({ type: 'exit', id, code, signal: name })
  })
  tell({ type: 'spawned', id, pid: child.pid })
}

function tell(message: Message): void {
  // A caller that is gone is what `disconnect` is for; there is nobody else to tell.
  if (process.connected) process.send?.(message, (error: Error | null) => error && finish())
}

function fail(error: unknown): void {
  tell({ type: 'failed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  process.exitCode = 1
  finish()
}

function finish(): void {
  finishing ??= endAll().finally(() => process.exit())
}

async function endAll(): Promise<void> {
  await Promise.all([...running].map(([child, endSignal]) => end(child.pid!, endSignal)))
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 })
}

async function end(pid: number, endSignal: NodeJS.Signals): Promise<void> {
  const tree = await processTree(pid)
  // A frozen server hears nothing but SIGKILL until it may go on.
  signal(tree, 'SIGCONT')
  signal([pid], endSignal)
  const ended = () => allEnded(tree)
  if (await waitUntil(ended, END_TIMEOUT_MS)) return
  await killTree(pid)
  signal(tree, 'SIGKILL')
  await waitUntil(ended, END_TIMEOUT_MS)
}

async function allEnded(pids: readonly number[]): Promise<boolean> {
  return (await Promise.all(pids.map(isRunning))).every((alive) => !alive)
}
