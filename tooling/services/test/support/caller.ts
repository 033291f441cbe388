import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('./caller.mjs', import.meta.url))

interface Started {
  readonly pids: number[]
  readonly urls: Record<string, string>
}

export interface Caller {
  readonly process: ChildProcess
  /** What it printed when its services were up. */
  readonly started: Promise<Started>
  readonly ended: Promise<unknown>
}

/** `wait` stays until it is ended; `leave` reaches its end without stopping anything. */
export type Ending = 'wait' | 'leave' | 'exit' | 'throw'

export interface CallerOptions {
  readonly tmp: string
  readonly uid?: number
  readonly gid?: number
}

export function startCaller(
  ending: Ending,
  names: readonly string[],
  { tmp, ...user }: CallerOptions,
): Caller {
  const child = spawn(process.execPath, [PROGRAM, ending, ...names], {
    env: { ...process.env, TMPDIR: tmp },
    stdio: ['ignore', 'pipe', ending === 'throw' ? 'ignore' : 'inherit'],
    ...user,
  })
  const ended = once(child, 'exit')
  const line = once(createInterface({ input: child.stdout! }), 'line').then(
    ([text]) => JSON.parse(text) as Started,
  )
  const early = ended.then(() => Promise.reject(new Error('the caller ended before its services were up')))
  const started = Promise.race([line, early])
  // Not every test waits for it, and `early` comes to pass in all of them.
  started.catch(() => undefined)
  early.catch(() => undefined)
  return { process: child, started, ended }
}
