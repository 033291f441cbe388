import { setMaxListeners } from 'node:events'
import { type Monitor, StoppedError } from '@holdfast/core'
import type { Boss, BossJob } from './boss.js'
import type { ExhaustedPolicy } from './options.js'
import type { AnyDatabase } from './run.js'
import { type BossSchema, checkStart } from './start.js'
import type { BossTables } from './tables.js'

export interface ProtectedBossParts {
  readonly boss: Boss
  readonly db: AnyDatabase
  readonly tables: BossTables
  /** The adapter's name. */
  readonly name: string
  readonly onExhausted: ExhaustedPolicy
}

/** A monitor that runs, and what its start found. */
export interface Running {
  readonly monitor: Monitor
  readonly schema: BossSchema
  /** Aborts when the monitor's stop begins: no handler may begin any more. */
  readonly closing: AbortSignal
}

/** A pg-boss whose jobs are protected while the monitor runs. */
export class ProtectedBoss {
  readonly parts: ProtectedBossParts
  readonly #queues = new Set<string>()
  readonly #handles = new WeakSet<object>()
  #closing = new AbortController()
  #running: Promise<Running>
  #started!: (running: Running) => void
  #schema: BossSchema | undefined

  constructor(parts: ProtectedBossParts) {
    this.parts = parts
    this.#running = this.#waitForStart()
  }

  /** Resolves once the monitor has started: a job must not begin before. */
  running(queue: string): Promise<Running> {
    this.#queues.add(queue)
    return this.#running
  }

  /** The handle that a handler gets with its job. */
  give<Handle extends object>(handle: Handle): Handle {
    this.#handles.add(handle)
    return handle
  }

  /** Whether these are jobs as a handler here got them: a handler wrapped in another needs no protection of its own. */
  hasGiven(jobs: readonly BossJob[]): boolean {
    return jobs.every((job) => 'task' in job && this.#handles.has(job.task as object))
  }

  /** @throws Error before the start */
  get schema(): BossSchema {
    if (this.#schema !== undefined) return this.#schema
    throw new Error("The pg-boss adapter has not started: recovery begins with the monitor's start.")
  }

  /** @throws ConfigError */
  async start(monitor: Monitor): Promise<void> {
    const schema = await checkStart(this.parts, monitor)
    this.#schema = schema
    this.#closing = new AbortController()
    // Every job that waits for its place listens.
    setMaxListeners(0, this.#closing.signal)
    const running = { monitor, schema, closing: this.#closing.signal }
    this.#started(running)
    // Another start than the first.
    this.#running = Promise.resolve(running)
  }

  /** pg-boss takes no more jobs of the queues that have had one here. Others are given back when they come. */
  async stop(): Promise<void> {
    this.#closing.abort(new StoppedError('The monitor stops: no job begins any more.'))
    await Promise.all([...this.#queues].map((queue) => this.leave(queue)))
  }

  /** Ends the workers of a queue without waiting for what they run. */
  async leave(queue: string): Promise<void> {
    await this.parts.boss.offWork(queue, { wait: false })
  }

  /** Tells what nobody waits for, as pg-boss tells its own. */
  readonly report = (error: unknown): void => {
    const emitter = this.parts.boss as Partial<NodeJS.EventEmitter>
    if ((emitter.listenerCount?.('error') ?? 0) > 0) emitter.emit!('error', error)
    else console.error(error)
  }

  #waitForStart(): Promise<Running> {
    return new Promise((resolve) => {
      this.#started = resolve
    })
  }
}
