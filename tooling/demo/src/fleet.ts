import { Child } from '@holdfast/chaos'
import { WORKERS } from './settings.js'
import type { WorkerMessage, WorkerOptions } from './worker/options.js'

/** One worker process. */
export class Worker {
  readonly child: Child
  #mayEnd = false

  constructor(
    readonly name: string,
    options: WorkerOptions,
  ) {
    this.child = new Child(new URL('./worker.js', import.meta.url), { options, execArgv: [] })
  }

  get pid(): number {
    return this.child.pid
  }

  get running(): boolean {
    return this.child.process.exitCode === null && this.child.process.signalCode === null
  }

  /** SIGKILL: nothing of it runs again. */
  async kill(): Promise<void> {
    this.#mayEnd = true
    await this.child.kill()
  }

  /** Lets it end in good order. */
  async stop(): Promise<void> {
    this.#mayEnd = true
    this.child.send('stop')
    await this.child.message('stopped')
    await this.child.exited
  }

  /** @throws Error when it has ended though nobody made it end */
  assertRunning(): void {
    if (this.#mayEnd || this.running) return
    const { exitCode, signalCode } = this.child.process
    throw new Error(
      `${this.name} ended by itself (${signalCode ?? exitCode}). It wrote:\n${this.child.output}`,
    )
  }
}

/** The three worker processes. */
export class Fleet implements AsyncDisposable {
  readonly workers: readonly Worker[]

  private constructor(workers: readonly Worker[]) {
    this.workers = workers
  }

  /** Resolves when all of them are ready for jobs. */
  static async start(
    options: Omit<WorkerOptions, 'worker'>,
    onTrouble: (worker: string, text: string) => void,
  ): Promise<Fleet> {
    const fleet = new Fleet(WORKERS.map((worker) => new Worker(worker, { ...options, worker })))
    for (const { name, child } of fleet.workers) {
      child.process.on('message', (message: WorkerMessage) => {
        if (message.type === 'trouble') onTrouble(name, message.text)
      })
    }
    try {
      await Promise.all(fleet.workers.map(({ child }) => child.message('ready')))
    } catch (error) {
      await fleet[Symbol.asyncDispose]()
      throw error
    }
    return fleet
  }

  get(name: string): Worker {
    const worker = this.workers.find((one) => one.name === name)
    if (worker === undefined) throw new Error(`There is no ${name}.`)
    return worker
  }

  assertRunning(): void {
    for (const worker of this.workers) worker.assertRunning()
  }

  /** Lets those that still run end in good order. */
  async stop(): Promise<void> {
    await Promise.all(this.workers.filter(({ running }) => running).map((worker) => worker.stop()))
  }

  /** What the workers had to complain about. */
  get complaints(): string {
    return this.workers
      .filter(({ child }) => child.output !== '')
      .map(({ name, child }) => `${name} wrote:\n${child.output.trimEnd()}\n`)
      .join('')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.workers.map(({ child }) => child[Symbol.asyncDispose]()))
  }
}
