import { Adapters } from './adapters.js'
import { type CleanupOptions, cleanup } from './cleanup.js'
import { withDatabaseErrors } from './database-errors.js'
import { drainProblem, drainWork } from './drain.js'
import { ConfigError, NotStartedError, StoppedError } from './errors.js'
import { Events, type MonitorEventName, type MonitorEvents } from './events.js'
import { GcLocks } from './gc-locks.js'
import { HandOver } from './hand-over.js'
import { Heartbeat } from './heartbeat.js'
import { fullTaskId, taskIdIn } from './identity.js'
import type { Incarnation } from './incarnation.js'
import { Membership } from './membership.js'
import type { Monitor } from './monitor.js'
import type { MonitorHealth, MonitorStats, RegisterOptions, StopOptions } from './monitor-types.js'
import { type MonitorConfig, resolveConfig, type TaskMonitorOptions } from './options.js'
import { Quarantine } from './quarantine.js'
import { Recovery } from './recovery/recovery.js'
import { clearTables } from './store/clear.js'
import { type JobHolder, jobHolder } from './store/processes.js'
import { readStats } from './store/stats.js'
import { openStore, type Store } from './store/store.js'
import { hasTask } from './store/tasks.js'
import type { SweepCounts, SweepParts } from './sweep.js'
import { Sweeper } from './sweeper.js'
import { Registrar } from './task/registrar.js'
import type { Task } from './task/task.js'
import type { Settled, SettleOptions, TaskHandle } from './task/task-handle.js'
import { type UnprotectedTask, UnprotectedTasks } from './task/unprotected.js'
import { withTimeout } from './timeout.js'

/** Milliseconds after which `stop()` leaves the rest to the others, when the database does not answer. */
const STOP_TIMEOUT = 10_000

/**
 * Records this process's work in flight, keeps its heart beating, and recovers what dead processes left.
 *
 * `start()` drives everything by itself. Its pieces can be driven one by one instead: `pingProcess()` in place of the
 * heartbeat, `acquireGcLock()`, `cleanupOrphanedTasks()` and `releaseGcLock()` in place of the sweep, `removeProcess()`
 * in place of the end.
 *
 * @throws ConfigError naming every wrong option at once
 */
export class TaskMonitor implements Monitor, AsyncDisposable {
  /** The options with all defaults filled in. Frozen. */
  readonly config: MonitorConfig
  /** What will not run again by itself. */
  readonly quarantine: Quarantine
  readonly #store: Store
  readonly #events: Events
  readonly #adapters: Adapters
  readonly #membership: Membership
  readonly #heartbeat: Heartbeat
  readonly #registrar: Registrar
  readonly #unprotected = new UnprotectedTasks()
  readonly #handOver: HandOver
  readonly #sweep: SweepParts
  readonly #sweepers: readonly Sweeper[]
  readonly #locks: GcLocks
  readonly #closed = new AbortController()
  #state: MonitorHealth['state'] = 'new'
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined

  constructor(options: TaskMonitorOptions) {
    const { config, logger } = resolveConfig(options)
    const { adapters, codec } = options
    const store = openStore(options.db, options)
    const events = new Events(logger)
    this.config = config
    this.#store = store
    this.#events = events
    this.#adapters = new Adapters(adapters, events)
    const shared = { store, config, codec, adapters, events, logger }
    this.#membership = new Membership({
      ...shared,
      onJoined: () => this.#heartbeat.open(),
      onEvicted: () => this.#adapters.tellEvicted(this),
    })
    const current = (): Incarnation => this.#membership.current
    const recovery = new Recovery({ ...shared, byProcess: () => this.processId })
    this.#handOver = new HandOver({ ...shared, recovery })
    this.#heartbeat = new Heartbeat(
      { ...shared, threadConnection: options.heartbeatConnection },
      {
        current,
        onBeat: (incarnation) => void this.#handOver.settle(incarnation),
        onEvicted: (incarnation) => this.#membership.evict(incarnation),
      },
    )
    this.#registrar = new Registrar({
      ...shared,
      closed: this.#closed.signal,
      current,
      onDead: () => this.#heartbeat.beatNow(),
      onGivenBack: (owner) => this.#handOver.recover(owner),
      settle: (incarnation) => this.#handOver.settle(incarnation),
      unprotected: this.#unprotected,
    })
    this.#sweep = { ...shared, recovery, queues: adapters.map(({ name }) => name) }
    this.#sweepers = adapters.map((adapter) => new Sweeper({ ...this.#sweep, adapter, current }))
    this.#locks = new GcLocks(store, config)
    this.quarantine = new Quarantine({ ...shared, byProcess: () => this.processId })
  }

  /** The id of this process's present incarnation. */
  get processId(): string {
    return this.#membership.current.processId
  }

  on<K extends MonitorEventName>(name: K, listener: (...args: MonitorEvents[K]) => void): this {
    this.#events.on(name, listener)
    return this
  }

  off<K extends MonitorEventName>(name: K, listener: (...args: MonitorEvents[K]) => void): this {
    this.#events.off(name, listener)
    return this
  }

  /** `<process id>/<task id>` of a task of this process. */
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
      await this.#join()
    } catch (error) {
      this.#state = 'new'
      this.#starting = undefined
      throw error
    }
    this.#heartbeat.start()
    this.#state = 'running'
    try {
      await this.#adapters.start(this)
      await this.#database('start', () => Promise.all(this.#sweepers.map((sweeper) => sweeper.start())))
    } catch (error) {
      // Half started it would beat for ever: whoever wants to try again makes a new monitor.
      void this.stop({ drain: 0 })
      throw error
    }
    this.#events.emit('started', { processId: this.processId })
  }

  /** Puts this process on the list. */
  #join(): Promise<void> {
    return this.#database('start', () => this.#membership.join())
  }

  /**
   * One heartbeat: puts this process on the list the first time, and prolongs its lease from then on. Only needed where
   * `start()` is not called; then call it once per `heartbeatInterval`. False when the heartbeat did not get through.
   *
   * @throws SchemaVersionError, ReadOnlyDatabaseError, DatabaseError (the first time), StoppedError
   */
  async pingProcess(): Promise<boolean> {
    if (this.#stopping !== undefined) throw this.#stoppedError()
    if (this.#membership.enlisted) return this.#heartbeat.once()
    await this.#join()
    return true
  }

  /**
   * Takes this process off the list at once; what it holds is recovered, which counts as no crash. After `start()` this
   * is `stop({ drain: 0 })`; else a later `pingProcess()` begins a new incarnation.
   *
   * @throws DatabaseError
   */
  async removeProcess(): Promise<void> {
    if (this.#starting !== undefined) return this.stop({ drain: 0 })
    await this.#membership.settled()
    if (!this.#membership.enlisted) return
    await this.#database('remove this process', () =>
      this.#leave(new StoppedError('This process was removed; the task is given back.')),
    )
  }

  /**
   * Makes a task known. Once this resolves the task runs to `complete()`, is recovered, or stands in quarantine. A job
   * that was in flight in two dying processes waits here until it has this process to itself (`isolateSuspects`).
   *
   * @throws PayloadError, PayloadTooLargeError, ConfigError for a wrong queue, jobRef, id or policy
   * @throws LeaseExpiredError while no heartbeat gets through
   * @throws JobTakenError where an `attempt` of the job is in flight that is as new or newer: leave the job to that
   * @throws DatabaseError when the write failed; the task is then not protected and must not start
   * @throws NotStartedError, StoppedError
   */
  async register(options: RegisterOptions): Promise<TaskHandle> {
    this.#assertOpen()
    return this.#registrar.register(options)
  }

  /**
   * Registers a task, runs `work` and completes it. When `work` throws, the task is completed too and the error goes
   * on to the caller: failures are the queue's to retry. When `task.signal` had aborted it was cut short, and is given
   * back; not so when that was for its `maxRuntime`, which is a failure. Work that completed or released its handle
   * itself is left so.
   */
  async run<T>(options: RegisterOptions, work: (task: TaskHandle) => Promise<T>): Promise<T> {
    this.#assertOpen()
    return this.#registrar.run(options, work)
  }

  /** For adapters: see `Monitor.settle`. */
  settle(task: TaskHandle, options?: SettleOptions): Promise<Settled> {
    return (task as Task | UnprotectedTask).settle(options)
  }

  /**
   * Ends a task of this process, given its handle or id: `complete()` for those who keep ids rather than handles.
   *
   * @throws TaskLostError, DatabaseError
   */
  async unregister(task: TaskHandle | string): Promise<void> {
    if (typeof task !== 'string') return task.complete()
    return this.#database('unregister a task', () =>
      this.#registrar.unregister(taskIdIn(this.processId, task)),
    )
  }

  /** Whether the database has the task in flight in this process. */
  isRegistered(task: TaskHandle | string): Promise<boolean> {
    const byId = typeof task === 'string'
    const processId = byId ? this.processId : task.fullId.split('/', 1)[0]!
    const wanted = byId ? taskIdIn(processId, task) : ((task as Task).nonce ?? task.id)
    return this.#database('look up a task', () => hasTask(this.#store, processId, wanted))
  }

  /** Which process has a job in flight, alive or dead. @throws DatabaseError, ConfigError */
  async holderOf(jobRef: string, queue?: string): Promise<JobHolder | undefined> {
    const { name } = this.#adapters.find(queue)
    return this.#database('look up a job', () => jobHolder(this.#store, name, jobRef))
  }

  /**
   * Notes that tasks of this process have made progress (`progress_at`), in one statement. Tasks that are no longer this
   * process's abort with `TaskLostError`. Leases don't depend on this. Answers how many are still this process's.
   *
   * @param tasks handles or ids; left out: all in flight
   * @throws DatabaseError
   */
  updateHeartbeats(tasks?: readonly (TaskHandle | string)[]): Promise<number> {
    const { current } = this.#membership
    const ids = tasks?.map((task) => (typeof task === 'string' ? taskIdIn(this.processId, task) : task.id))
    return this.#database('update heartbeats', () => current.updateProgress(ids))
  }

  /**
   * Takes the GC lock of a queue: false while a living process holds it unexpired, or while a sweep ended less than
   * `sweepInterval` ago. It lasts for `gcLockTtl` ms. `start()` does this by itself.
   *
   * @throws ConfigError for an unknown queue, NotStartedError before `pingProcess()`, DatabaseError
   */
  async acquireGcLock(queue?: string): Promise<boolean> {
    this.#assertOpen()
    const name = this.#adapters.find(queue).name
    return this.#database('acquire the GC lock', () => this.#locks.acquire(name, this.processId))
  }

  /** Gives the lock back that `acquireGcLock` took, and records when. Another's is left alone: then false. */
  async releaseGcLock(queue?: string): Promise<boolean> {
    const name = this.#adapters.find(queue).name
    return this.#database('release the GC lock', () => this.#locks.release(name))
  }

  /**
   * One sweep of all queues of this monitor: fences dead processes and recovers their tasks. Right without the GC lock
   * too, which only keeps several from doing the same work. Only a process that has itself beaten without a gap for as
   * long as another's lease may find the other dead; what is dead or gone already is recovered in any case.
   *
   * @throws DatabaseError, ConfigError
   */
  cleanupOrphanedTasks(options: CleanupOptions = {}): Promise<SweepCounts> {
    return this.#database('clean up', () =>
      cleanup(this.#sweep, this.#membership.current, this.#adapters.all, options),
    )
  }

  /**
   * Empties every table of Holdfast's, for tests.
   *
   * @throws ConfigError unless the monitor was made with `testing: true`
   */
  async clearAll(): Promise<void> {
    if (!this.config.testing) {
      throw new ConfigError('clearAll() forgets all work in flight: it needs a monitor with testing: true.')
    }
    await this.#database('clear the tables', () => clearTables(this.#store))
  }

  /** What this process knows of itself, without asking the database. */
  health(): MonitorHealth {
    const { processId, lease, tasks, ended } = this.#membership.current
    return {
      state: this.#state,
      processId,
      leaseRemainingMs: ended ? 0 : Math.max(0, lease.remaining()),
      gapFreeForMs: lease.gapFreeFor(),
      heartbeatsThrough: this.#heartbeat.through,
      inFlight: tasks.inFlight + this.#unprotected.size,
      undecided: tasks.undecided,
      unsettled: tasks.doubtful,
      events: this.#events.counts(),
    }
  }

  /** What the database holds: processes, tasks in flight per queue, quarantine. */
  stats(): Promise<MonitorStats> {
    return this.#database('read the stats', () => readStats(this.#store))
  }

  /**
   * Takes no more tasks, waits up to `drain` ms for those in flight (beating on), gives back what is left so that it
   * is runnable again at once, and takes this process off the list. Calling it again waits for the same end.
   */
  stop(options: StopOptions = {}): Promise<void> {
    const wrong = drainProblem(options.drain)
    if (wrong !== undefined) return Promise.reject(wrong)
    this.#stopping ??= this.#stop(options)
    return this.#stopping
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #stop({ drain = 10_000 }: StopOptions): Promise<void> {
    this.#closed.abort(this.#stoppedError())
    await this.#starting?.catch(() => undefined) // start() has told its caller.
    await this.#membership.settled()
    if (!this.#membership.enlisted) {
      this.#state = 'stopped'
      return
    }
    this.#state = 'stopping'
    await drainWork(drain, {
      tell: (over) => this.#adapters.stop(this, over),
      wait: (over) => Promise.all([this.#membership.current.drained(over), this.#unprotected.drained()]),
    })
    const { processId, tasks } = this.#membership.current
    const released = tasks.inFlight
    this.#unprotected.abort(new StoppedError('The monitor has stopped; this task runs unprotected.'))
    const leaving = this.#leave(
      new StoppedError('The monitor stopped with this task in flight; it is given back.'),
    )
    try {
      await withTimeout(leaving, STOP_TIMEOUT, `${processId} leaves`)
    } catch (error) {
      this.#events.fail(`could not take ${processId} off the list; others find it when its lease ends`, error)
      // Not awaited: what hangs may hang for long, but no heartbeat is sent any more.
      void this.#heartbeat.stop()
      this.#membership.leave(new StoppedError('The monitor stopped while the database did not answer.'))
    }
    this.#state = 'stopped'
    this.#events.emit('stopped', { processId, released })
  }

  /** Ends this process's life in the database, and hands over what it still held. */
  async #leave(reason: Error): Promise<void> {
    const { current } = this.#membership
    current.abort(reason)
    if (this.#starting !== undefined) await Promise.all(this.#sweepers.map((sweeper) => sweeper.stop()))
    // Once more: what became doubtful since a heartbeat began to settle is not among what that does.
    await this.#handOver.settle(current)
    await this.#handOver.settle(current)
    await this.#heartbeat.stop()
    this.#membership.leave(reason)
    await this.#handOver.leave(current.processId)
  }

  #database<T>(what: string, work: () => Promise<T>): Promise<T> {
    return withDatabaseErrors(this.#store, what, work)
  }

  #assertOpen(): void {
    if (this.#stopping !== undefined) throw this.#stoppedError()
    if (this.#membership.enlisted) return
    throw new NotStartedError('The monitor has not started: `await monitor.start()` first.')
  }

  #stoppedError(): StoppedError {
    return new StoppedError('The monitor was stopped. Make a new TaskMonitor to go on.')
  }
}
