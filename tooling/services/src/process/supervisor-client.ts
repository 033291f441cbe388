import { type ChildProcess, fork } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { SupervisorError } from '../errors.js'
import { killTree } from './process-tree.js'
import type { Message, Request, SpawnOrder } from './protocol.js'
import { SupervisedProcess } from './supervised-process.js'

interface Waiter<T> {
  resolve(value: T): void
  reject(error: Error): void
}

/** The caller's end of the channel to the process that owns the servers (supervisor.ts). */
export class Supervisor {
  readonly #child: ChildProcess
  readonly #exited: Promise<void>
  readonly #waiting = new Map<number, Waiter<SupervisedProcess>>()
  readonly #processes = new Map<number, SupervisedProcess>()
  #ready: Waiter<void> | undefined
  #folder: string | undefined
  #nextId = 1
  #failure = ''
  #closing: Promise<void> | undefined
  #awaited = 0

  private constructor(child: ChildProcess) {
    this.#child = child
    child.on('message', (message: Message) => this.#hear(message))
    child.on('error', (error) => this.#lose(error))
    this.#exited = new Promise((resolve) => {
      child.once('exit', (code, name) => {
        this.#lose(new Error(`ended with ${name ?? `code ${code}`}`))
        resolve()
      })
    })
  }

  /** `base` is where the folder for the servers' files is made. */
  static async start(base: string): Promise<Supervisor> {
    // Options meant for the caller (--inspect, loaders) must not take hold of the supervisor.
    const { NODE_OPTIONS: _, ...env } = process.env
    const child = fork(fileURLToPath(new URL('./supervisor.js', import.meta.url)), [base], {
      detached: true,
      execArgv: [],
      env,
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    const supervisor = new Supervisor(child)
    await supervisor.hold(
      new Promise<void>((resolve, reject) => {
        supervisor.#ready = { resolve, reject }
      }),
    )
    return supervisor
  }

  get closing(): boolean {
    return this.#closing !== undefined
  }

  get folder(): string {
    return this.#folder!
  }

  async spawn(order: SpawnOrder): Promise<SupervisedProcess> {
    const id = this.#nextId++
    return this.hold(
      new Promise<SupervisedProcess>((resolve, reject) => {
        this.#waiting.set(id, { resolve, reject })
        this.#send({ type: 'spawn', id, order })
      }),
    )
  }

  /** Ends every server, removes the folder and then the supervisor itself. */
  close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = this.hold(this.#exited)
      if (this.#child.connected) this.#send({ type: 'close' })
    }
    return this.#closing
  }

  #send(request: Request): void {
    this.#child.send(request, (error) => error && this.#lose(error))
  }

  #hear(message: Message): void {
    switch (message.type) {
      case 'ready':
        this.#folder = message.folder
        this.#ready?.resolve()
        return
      case 'spawned': {
        const started = new SupervisedProcess(message.pid)
        this.#processes.set(message.id, started)
        this.#take(message.id)?.resolve(started)
        return
      }
      case 'refused':
        this.#take(message.id)?.reject(Object.assign(new Error(message.message), { code: message.code }))
        return
      case 'exit':
        this.#processes.get(message.id)?.markExited(message)
        this.#processes.delete(message.id)
        return
      case 'failed':
        this.#failure = message.message
    }
  }

  #take(id: number): Waiter<SupervisedProcess> | undefined {
    const waiter = this.#waiting.get(id)
    this.#waiting.delete(id)
    return waiter
  }

  /** The supervisor is gone. If we did not ask for that, its servers are still there: end them from here. */
  #lose(cause: Error): void {
    const error = new SupervisorError(`the process that owns the servers is gone. ${this.#failure}`, {
      cause,
    })
    this.#ready?.reject(error)
    for (const waiter of this.#waiting.values()) waiter.reject(error)
    this.#waiting.clear()
    const left = [...this.#processes.values()]
    this.#processes.clear()
    for (const lost of left) lost.markExited({ code: null, signal: null })
    if (!this.#closing) void this.#cleanUp(left)
  }

  async #cleanUp(left: readonly SupervisedProcess[]): Promise<void> {
    await Promise.all(left.map(({ pid }) => killTree(pid)))
    if (this.#folder) await rm(this.#folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 })
  }

  /** The channel keeps the caller's process alive only while the caller waits for something. */
  async hold<T>(work: Promise<T>): Promise<T> {
    this.#awaited++
    this.#child.ref()
    this.#child.channel?.ref()
    try {
      return await work
    } finally {
      if (--this.#awaited === 0) {
        this.#child.unref()
        this.#child.channel?.unref()
      }
    }
  }
}
