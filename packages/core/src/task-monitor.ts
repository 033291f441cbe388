import { hostname } from 'node:os'
import type { QueueAdapter } from './adapter.js'
import { monotonicNow } from './clock.js'
import { withDatabaseErrors } from './database-errors.js'
import { settleDoubtful } from './doubtful.js'
import { drainWork } from './drain.js'
import {
  ConfigError,
  DatabaseError,
  LeaseExpiredError,
  NotStartedError,
  StoppedError,
  TaskLostError,
} from './errors.js'
import { Events, type MonitorEventName, type MonitorEvents, messageOf } from './events.js'
import { Heartbeat } from './heartbeat.js'
import { fullTaskId } from './identity.js'
import { Incarnation } from './incarnation.js'
import type { Logger } from './logger.js'
import { checkSchema } from './migrations/migrate.js'
import type { MonitorHealth, MonitorStats, RegisterOptions, StopOptions } from './monitor-types.js'
import { newTask } from './new-task.js'
import { type MonitorConfig, resolveConfig, type TaskMonitorOptions } from './options.js'
import { Recovery } from './recovery.js'
import { deleteEmptyProcesses, insertProcess, listProcesses, releaseProcess } from './store/processes.js'
import { countQuarantine } from './store/quarantine.js'
import { openStore, type Store } from './store/store.js'
import { countTasks, releasedOwner } from './store/tasks.js'
import { Sweeper } from './sweeper.js'
import { Handle, type TaskHandle } from './task-handle.js'
import { withTimeout } from './timeout.js'
import { version } from './version.js'

/** Milliseconds after which `stop()` leaves the rest to the others, when the database does not answer. */
const STOP_TIMEOUT = 10_000

/**
 * Records this process's work in flight, keeps its heart beating, and recovers what dead processes left.
 *
 * @throws ConfigError naming every wrong option at once
 */
export class TaskMonitor implements AsyncDisposable {
  readonly config: MonitorConfig
  readonly #store: Store
  readonly #events: Events
  readonly #logger: Logger
  readonly #adapters: readonly QueueAdapter[]
  readonly #heartbeat: Heartbeat
  readonly #recovery: Recovery
  readonly #sweepers: readonly Sweeper[]
  #state: MonitorHealth['state'] = 'new'
  #incarnation: Incarnation
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined
  #evicting: Promise<void> | undefined
  readonly #handingOver = new Set<Promise<void>>()

  constructor(options: TaskMonitorOptions) {
    const { config, logger } = resolveConfig(options)
    this.config = config
    this.#logger = logger
    this.#store = openStore(options.db, options)
    this.#events = new Events(logger)
    this.#adapters = options.adapters
    this.#incarnation = new Incarnation(this.#store, config)
    const current = () => this.#incarnation
    this.#recovery = new Recovery(this.#store, config, this.#events, logger, () => this.processId)
    this.#heartbeat = new Heartbeat(this.#store, config, this.#events, logger, {
      current,
      onBeat: (incarnation) => void this.#settle(incarnation),
      onEvicted: (incarnation) => this.#evictOnce(incarnation),
    })
    const queues = options.adapters.map(({ name }) => name)
    const shared = {
      store: this.#store,
      config,
      events: this.#events,
      logger,
      recovery: this.#recovery,
      queues,
      current,
    }
    this.#sweepers = options.adapters.map((adapter) => new Sweeper({ ...shared, adapter }))
  }

  /** The id of this process's present incarnation. */
  get processId(): string {
    return this.#incarnation.processId
  }

  on<K extends MonitorEventName>(name: K, listener: (...args: MonitorEvents[K]) => void): this {
    this.#events.on(name, listener)
    return this
  }

  off<K extends MonitorEventName>(name: K, listener: (...args: MonitorEvents[K]) => void): this {
    this.#events.off(name, listener)
    return this
  }

  fullTaskId(taskId: string): string {
    return fullTaskId(this.processId, taskId)
  }

  /**
   * Registers this process and starts heartbeats and sweeps. Calling it again while it runs does nothing.
   *
   * @throws SchemaVersionError, ReadOnlyDatabaseError, DatabaseError, StoppedError after `stop()`
   */
  start(): Promise<void> {
    if (this.#stopping !== undefined) return Promise.reject(this.#stoppedError())
    this.#starting ??= this.#start()
    return this.#starting
  }

  async #start(): Promise<void> {
    this.#state = 'starting'
    try {
      await this.#database('start', async () => {
        await checkSchema(this.#store)
        await this.#enlist(this.#incarnation)
      })
    } catch (error) {
      this.#state = 'new'
      this.#starting = undefined
      // The old one's row may be there all the same.
      this.#incarnation = new Incarnation(this.#store, this.config)
      throw error
    }
    this.#heartbeat.start()
    this.#state = 'running'
    try {
      for (const adapter of this.#adapters) await adapter.onStart?.(this)
      await this.#database('start', () => Promise.all(this.#sweepers.map((sweeper) => sweeper.start())))
    } catch (error) {
      // Half started it would beat for ever: whoever wants to try again makes a new monitor.
      void this.stop({ drain: 0 })
      throw error
    }
    this.#events.emit('started', { processId: this.processId })
  }

  /**
   * Makes a task known. Once this resolves the task runs to `complete()`, is recovered, or stands in quarantine.
   *
   * @throws PayloadError, PayloadTooLargeError, ConfigError for a wrong queue, jobRef or id
   * @throws LeaseExpiredError while no heartbeat gets through
   * @throws DatabaseError when the write failed; the task is then not protected and must not start
   * @throws NotStartedError, StoppedError
   */
  register(options: RegisterOptions): Promise<TaskHandle> {
    return this.#register(options)
  }

  async #register(options: RegisterOptions): Promise<Handle> {
    this.#assertRunning()
    const task = newTask(options, this.#adapters, this.config)
    const incarnation = this.#incarnation
    if (incarnation.ended || incarnation.lease.expired) {
      throw new LeaseExpiredError(
        `Process ${incarnation.processId} takes no tasks: no heartbeat has succeeded for ` +
          `${Math.round(incarnation.lease.age())} ms. It goes on by itself when the database answers again.`,
      )
    }
    if (incarnation.knows(task.id)) {
      throw new ConfigError(
        `A task with the id ${JSON.stringify(task.id)} is in flight already, or its end is uncertain; give it another id.`,
      )
    }
    const controller = new AbortController()
    incarnation.tasks.set(task.id, controller)
    let written: boolean | Error
    try {
      written = await incarnation.registrations.add(task)
    } catch (cause) {
      // The row may be there all the same; heartbeats delete it until that is certain.
      incarnation.forget(task.id, { kind: 'unregister', until: monotonicNow() + this.config.orphanThreshold })
      throw new DatabaseError(`Could not register task ${task.id}: ${messageOf(cause)}`, { cause })
    }
    if (written !== true) {
      incarnation.forget(task.id)
      if (written !== false) throw written
      this.#heartbeat.beatNow()
      throw incarnation.lost()
    }
    if (incarnation.ended) throw incarnation.lost()
    const handle = new Handle(task, controller.signal, incarnation, {
      store: this.#store,
      maxPayloadBytes: this.config.maxPayloadBytes,
      onCompleted: (done) => this.#events.emit('completed', this.#taskEvent(done)),
      onReleased: (processId) => this.#recoverReleased(releasedOwner(processId), null),
    })
    this.#events.emit('registered', this.#taskEvent(handle))
    return handle
  }

  /**
   * Registers a task, runs `work` and completes it. When `work` throws, the task is completed too and the error goes
   * on to the caller: failures are the queue's to retry. When `task.signal` had aborted it was cut short, and is given
   * back. Work that completed or released its handle itself is left so.
   */
  async run<T>(options: RegisterOptions, work: (task: TaskHandle) => Promise<T>): Promise<T> {
    const task = await this.#register(options)
    let result: T
    try {
      result = await work(task)
    } catch (error) {
      if (!task.ended) await this.#endFailed(task)
      throw error
    }
    if (task.open) await task.complete()
    return result
  }

  /** What this process knows of itself, without asking the database. */
  health(): MonitorHealth {
    const { processId, lease, tasks, doubtful } = this.#incarnation
    return {
      state: this.#state,
      processId,
      leaseRemainingMs: Math.max(0, lease.remaining()),
      gapFreeForMs: lease.gapFreeFor(),
      inFlight: tasks.size,
      unsettled: doubtful.size,
      events: this.#events.counts(),
    }
  }

  /** What the database holds: processes, tasks in flight per queue, quarantine. */
  stats(): Promise<MonitorStats> {
    return this.#database('read the stats', async () => ({
      processes: await listProcesses(this.#store),
      tasks: await countTasks(this.#store),
      quarantined: await countQuarantine(this.#store),
    }))
  }

  /**
   * Takes no more tasks, waits up to `drain` ms for those in flight (beating on), gives back what is left so that it
   * is runnable again at once, and takes this process off the list. Calling it again waits for the same end.
   */
  stop(options: StopOptions = {}): Promise<void> {
    const { drain = 0 } = options
    if (typeof drain !== 'number' || !(drain >= 0)) {
      return Promise.reject(
        new ConfigError(`drain must be a number of milliseconds, or Infinity: ${String(drain)}`),
      )
    }
    this.#stopping ??= this.#stop(options)
    return this.#stopping
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #stop({ drain = 10_000 }: StopOptions): Promise<void> {
    if (this.#starting === undefined) {
      this.#state = 'stopped'
      return
    }
    await this.#starting.catch(() => undefined) // start() has told its caller.
    if (this.#state !== 'running') {
      this.#state = 'stopped'
      return
    }
    this.#state = 'stopping'
    await drainWork(drain, async (over) => {
      await Promise.all(this.#adapters.map((adapter) => this.#stopAdapter(adapter, over)))
      await this.#incarnation.whenEmpty()
    })
    const { processId, tasks } = this.#incarnation
    const released = tasks.size
    try {
      await withTimeout(this.#leave(processId), STOP_TIMEOUT, `${processId} leaves`)
    } catch (error) {
      this.#events.fail(`could not take ${processId} off the list; others find it when its lease ends`, error)
      // Not awaited: what hangs may hang for long, but no heartbeat is sent any more.
      void this.#heartbeat.stop()
      this.#incarnation.end(new StoppedError('The monitor stopped while the database did not answer.'))
    }
    this.#state = 'stopped'
    this.#events.emit('stopped', { processId, released })
  }

  /** Ends this process's life in the database, and hands over what it still held. */
  async #leave(processId: string): Promise<void> {
    this.#incarnation.abort(
      new StoppedError('The monitor stopped with this task in flight; it is given back.'),
    )
    await Promise.all(this.#sweepers.map((sweeper) => sweeper.stop()))
    await this.#settle(this.#incarnation)
    await this.#heartbeat.stop()
    this.#incarnation.end(
      new StoppedError('The monitor stopped with this task in flight; it was given back.'),
    )
    await releaseProcess(this.#store, processId)
    await this.#recoverReleased(processId, 'released')
    // What was given back one by one just now may be under way still.
    await Promise.all(this.#handingOver)
    await this.#recoverReleased(releasedOwner(processId), null)
    await deleteEmptyProcesses(this.#store)
  }

  async #stopAdapter(adapter: QueueAdapter, over: AbortSignal): Promise<void> {
    try {
      await adapter.onStop?.(this, over)
    } catch (error) {
      this.#events.fail(`adapter ${JSON.stringify(adapter.name)} failed to stop`, error)
    }
  }

  /** The first heartbeat of an incarnation is its registration. */
  async #enlist(incarnation: Incarnation): Promise<void> {
    const sentAt = monotonicNow()
    const self = { processId: incarnation.processId, hostname: hostname(), pid: process.pid, version }
    incarnation.lease.renew(sentAt, await insertProcess(this.#store, self, this.config))
  }

  /** Several heartbeats may learn of the same death at once. */
  async #evictOnce(old: Incarnation): Promise<void> {
    if (old !== this.#incarnation) return
    this.#evicting ??= this.#evicted(old).finally(() => {
      this.#evicting = undefined
    })
    await this.#evicting
  }

  async #evicted(old: Incarnation): Promise<void> {
    const tasks = old.tasks.size
    old.end(old.lost())
    // Should this fail, the old incarnation stays current, ended, and the next heartbeat comes here again.
    const next = new Incarnation(this.#store, this.config)
    await withTimeout(this.#enlist(next), this.config.orphanThreshold, `${next.processId} registers anew`)
    this.#incarnation = next
    this.#logger.warn(
      `process ${old.processId} was declared dead and its ${tasks} tasks go elsewhere; it goes on as ${next.processId}`,
    )
    this.#events.emit('evicted', { processId: old.processId, newProcessId: next.processId, tasks })
    for (const adapter of this.#adapters) {
      // Not awaited: an adapter may wait for handlers, and the heart must beat meanwhile.
      void Promise.resolve(adapter.onEvicted?.(this)).catch((error) =>
        this.#events.fail(`adapter ${JSON.stringify(adapter.name)} failed after an eviction`, error),
      )
    }
  }

  /** Carries out writes whose outcome was unknown, until it is known. */
  async #settle(incarnation: Incarnation): Promise<void> {
    try {
      await settleDoubtful(this.#store, incarnation, (owner) => this.#recoverReleased(owner, null))
    } catch (error) {
      this.#events.fail('could not settle writes of unknown outcome; the next heartbeat tries again', error)
    }
  }

  #recoverReleased(processId: string, state: 'released' | null): Promise<void> {
    const work = this.#recovery
      .recoverOwner({ processId, state, orphanedForMs: null }, { adapters: this.#adapters })
      .then(() => undefined)
      .catch((error) =>
        this.#events.fail(`could not recover what ${processId} gave back; the next sweep does`, error),
      )
      .finally(() => this.#handingOver.delete(work))
    this.#handingOver.add(work)
    return work
  }

  #database<T>(what: string, work: () => Promise<T>): Promise<T> {
    return withDatabaseErrors(this.#store, what, work)
  }

  /**
   * Work that failed is completed, work that was cut short is given back. Its own error matters more to the caller
   * than what becomes of the row, which is reported here.
   */
  async #endFailed(task: Handle): Promise<void> {
    try {
      if (task.signal.aborted) await task.release()
      else await task.complete()
    } catch (error) {
      // A lost task is recovered already, or about to be.
      if (!TaskLostError.is(error)) this.#events.fail('could not end a failed task', error)
    }
  }

  #taskEvent({ fullId, queue, jobRef }: TaskHandle) {
    return { taskId: fullId, queue, jobRef }
  }

  #assertRunning(): void {
    if (this.#stopping !== undefined) throw this.#stoppedError()
    if (this.#state === 'running') return
    throw new NotStartedError('The monitor has not started: `await monitor.start()` first.')
  }

  #stoppedError(): StoppedError {
    return new StoppedError('The monitor was stopped. Make a new TaskMonitor to go on.')
  }
}
