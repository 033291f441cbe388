import { type ChildProcess, fork } from 'node:child_process'
import { compiled } from './compiled.js'
import { until } from './until.js'

export interface ChildOptions {
  /** Handed to the script as `process.env.CHILD_OPTIONS`, as JSON. */
  readonly options?: unknown
  readonly env?: Readonly<Record<string, string>>
  /** Arguments for node. @default its Kysely, and with HOLDFAST_DEBUG stack traces that name the sources */
  readonly execArgv?: readonly string[]
  /** TypeScript files that the script starts as threads, by their place beside its code. */
  readonly threads?: readonly URL[]
}

/** @param kysely the version that it is to load; the installed one if it is none or empty */
const execArgvFor = (kysely: string | undefined): string[] => [
  // Source maps cost a child a quarter of its start.
  ...(process.env.HOLDFAST_DEBUG ? ['--enable-source-maps'] : []),
  ...(kysely ? ['--import', new URL('../hooks/kysely.mjs', import.meta.url).href] : []),
]

const alive = new Set<ChildProcess>()
const killAll = (): void => {
  for (const child of alive) child.kill('SIGKILL')
}
/** Vitest ends its forks by a signal, and they go on without it: those who have children take them along. */
const takeAlong = (): void => {
  // Who listens as well decides by itself.
  if (process.listenerCount('SIGTERM') > 0) return
  killAll()
  process.kill(process.pid, 'SIGTERM')
}
const orphaned = (): void => {
  process.off('SIGTERM', takeAlong)
  takeAlong()
}
process.once('exit', killAll)

/** A real process to kill, pause and wake. What it sends through `process.send` is kept in order. */
export class Child {
  readonly messages: unknown[] = []
  readonly process: ChildProcess
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
  #output = ''

  /** @param script JavaScript, or TypeScript of a package, which is compiled */
  constructor(script: string | URL, { options, env: given, execArgv, threads }: ChildOptions = {}) {
    const env = { ...process.env, ...given }
    const kysely = env.HOLDFAST_TEST_KYSELY
    this.process = fork(String(script).endsWith('.ts') ? compiled(script, threads, kysely) : script, {
      execArgv: [...(execArgv ?? execArgvFor(kysely))],
      env: { ...env, HOLDFAST_CHAOS: import.meta.url, CHILD_OPTIONS: JSON.stringify(options ?? {}) },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    if (alive.size === 0) process.once('SIGTERM', takeAlong).once('disconnect', orphaned)
    alive.add(this.process)
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text
      })
    }
    this.process.on('message', (message) => this.messages.push(message))
    this.exited = new Promise((resolve) => {
      this.process.on('exit', (code, signal) => {
        alive.delete(this.process)
        if (alive.size === 0) process.off('SIGTERM', takeAlong).off('disconnect', orphaned)
        resolve({ code, signal })
      })
    })
  }

  get pid(): number {
    return this.process.pid!
  }

  /** All it wrote to stdout and stderr. */
  get output(): string {
    return this.#output
  }

  send(message: unknown): void {
    this.process.send(message as object)
  }

  /** Waits for a message that is `wanted`, or has it as `type`. */
  async message<T = unknown>(wanted: string, timeout?: number): Promise<T> {
    const isIt = (message: unknown): boolean =>
      message === wanted ||
      (typeof message === 'object' && message !== null && 'type' in message && message.type === wanted)
    return (await until(
      () => {
        const found = this.messages.find(isIt)
        if (found === undefined && (this.process.exitCode ?? this.process.signalCode) !== null) {
          throw new Error(
            `The child ended with ${this.process.exitCode ?? this.process.signalCode} before '${wanted}':\n${this.#output}`,
          )
        }
        return found
      },
      { timeout, what: () => `message '${wanted}' of child ${this.pid}; it wrote:\n${this.#output}` },
    )) as T
  }

  /** SIGKILL: nothing of it runs again. */
  async kill(): Promise<void> {
    this.process.kill('SIGKILL')
    await this.exited
  }

  /** SIGSTOP: it stands still as in a long pause of the machine. */
  pause(): void {
    this.process.kill('SIGSTOP')
  }

  resume(): void {
    this.process.kill('SIGCONT')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) await this.kill()
  }
}

/** The options that the parent gave to this child. */
export function childOptions<T>(): T {
  return JSON.parse(process.env.CHILD_OPTIONS ?? '{}') as T
}
