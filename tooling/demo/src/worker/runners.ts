import { EventEmitter } from 'node:events'
import type { AnyDatabase } from '@holdfast/chaos'
import { Logger, type Runner, run, type WorkerEvents } from 'graphile-worker'
import type { Protection } from './protection.js'

export interface RunnersOptions {
  readonly connectionString: string
  readonly db: AnyDatabase
  readonly worker: string
  readonly protection: Protection
}

// stderr is shown when the demo fails; what graphile-worker has to say besides errors is not.
const logger = new Logger(() => (level, message) => {
  if (level === 'error') console.error(message)
})

/** Keeps graphile-worker running: after an eviction Holdfast shuts its pool down, and this makes a new one. */
export class Runners {
  readonly #options: RunnersOptions
  #current: Runner | undefined
  #ended: Promise<void> | undefined
  #stopping = false

  constructor(options: RunnersOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    this.#current = await this.#run()
    this.#ended = this.#goOn(this.#current)
    this.#ended.catch((error) => {
      console.error(error)
      process.exit(1)
    })
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await this.#current?.stop()
    await this.#ended
  }

  async #goOn(first: Runner): Promise<void> {
    for (let runner = first; ; runner = await this.#run()) {
      this.#current = runner
      await runner.promise
      if (this.#stopping) return
    }
  }

  async #run(): Promise<Runner> {
    const { connectionString, protection } = this.#options
    const { taskList, preset, concurrency } = protection
    const events: WorkerEvents = new EventEmitter()
    // Not the pool itself: it is thenable, so that awaiting it would be awaiting its end.
    const poolId = new Promise<string>((resolve) => {
      events.once('pool:create', ({ workerPool }) => resolve(workerPool.id))
    })
    const runner = await run({
      connectionString,
      concurrency,
      taskList,
      events,
      logger,
      preset,
      noHandleSignals: true,
      pollInterval: 1_000,
    })
    await this.#note(await poolId)
    return runner
  }

  /** So that a lock in graphile-worker can be told to be this worker's. */
  async #note(poolId: string): Promise<void> {
    const pool = { pool_id: poolId, worker: this.#options.worker, pid: process.pid }
    await this.#options.db.insertInto('demo_pools').values(pool).execute()
  }
}
