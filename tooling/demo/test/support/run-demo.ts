import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '@holdfast/chaos'
import { onTestFinished } from 'vitest'

const ENTRY = join(import.meta.dirname, '..', '..', 'dist', 'index.js')

/** The built demo, running as a person would run it, but not on a terminal. */
export class RunningDemo {
  readonly process: ChildProcess
  readonly ended: Promise<number | null>
  stdout = ''
  stderr = ''

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    if (!existsSync(ENTRY)) throw new Error(`${ENTRY} is not there: build first (npm test does)`)
    const { HOLDFAST_POSTGRES_URL: _, ...inherited } = process.env
    const child = spawn(process.execPath, [ENTRY, ...args], {
      env: { ...inherited, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    this.process = child
    this.ended = once(child, 'close').then(([code]) => code as number | null)
    onTestFinished(() => void child.kill('SIGKILL'))
  }

  /** Waits until the demo has written `text` for people. */
  async said(text: string): Promise<void> {
    await until(() => `${this.stdout}${this.stderr}`.includes(text), { what: `the demo says '${text}'` })
  }
}

/** The ids of all processes below one. */
export function descendants(pid: number): number[] {
  const rows = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
  const below = (parent: number): number[] =>
    rows.flatMap(([child, its]) => (its === parent ? [child!, ...below(child!)] : []))
  return below(pid)
}

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}
