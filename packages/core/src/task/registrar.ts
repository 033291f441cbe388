import { setTimeout as delay } from 'node:timers/promises'
import type { QueueAdapter } from '../adapter.js'
import { monotonicNow } from '../clock.js'
import type { PayloadCodec } from '../codec.js'
import {
  ConfigError,
  DatabaseError,
  JobTakenError,
  LeaseExpiredError,
  PayloadTooLargeError,
  TaskLostError,
  TaskOverdueError,
} from '../errors.js'
import type { Events } from '../events.js'
import { fullTaskId } from '../identity.js'
import type { Incarnation } from '../incarnation.js'
import type { RegisterOptions } from '../monitor-types.js'
import type { MonitorConfig } from '../options.js'
import type { NewTask } from '../store/new-tasks.js'
import type { Store } from '../store/store.js'
import { Isolation, type Leave } from './isolation.js'
import { storedPayload, type TaskIdentity, taskIdentity } from './new-task.js'
import { Running } from './running.js'
import { Task, type TaskHooks } from './task.js'
import type { TaskHandle } from './task-handle.js'
import { pauses, uncertain } from './task-writes.js'
import { UnprotectedTask, type UnprotectedTasks } from './unprotected.js'

export interface RegistrarParts {
  readonly store: Store
  readonly config: MonitorConfig
  readonly codec: PayloadCodec | undefined
  readonly adapters: readonly QueueAdapter[]
  readonly events: Events
  /** Aborts when the monitor takes no more tasks. */
  readonly closed: AbortSignal
  current(): Incarnation
  /** The database says that this process is not alive: find out at once. */
  onDead(): void
  /** The rows given back wait under this owner. */
  onGivenBack(owner: string): Promise<void>
  /** Makes certain what is not. Never rejects. */
  settle(incarnation: Incarnation): Promise<void>
  readonly unprotected: UnprotectedTasks
}

/** What a task is written with beside its row. */
interface Place {
  readonly leave: Leave
  /** It has the process to itself. */
  readonly isolated: boolean
  /** Whatever ends the wait for being written. */
  readonly signals: readonly AbortSignal[]
}

/** What a release may add to a payload, in bytes. */
const ADDED_BYTES = 16_384

/** Makes tasks known and runs them. */
export class Registrar {
  readonly #parts: RegistrarParts
  readonly #isolation = new Isolation()
  readonly #hooks: TaskHooks

  constructor(parts: RegistrarParts) {
    this.#parts = parts
    this.#hooks = {
      storePayload: (payload) => storedPayload(payload, this.#payloadRules(ADDED_BYTES)),
      onCompleted: (task) => parts.events.emit('completed', taskEvent(task)),
      onGivenBack: parts.onGivenBack,
      onUndecided: (task, error) => this.#undecided(task, error),
    }
  }

  async register(options: RegisterOptions): Promise<Task | UnprotectedTask> {
    const { config, adapters } = this.#parts
    const identity = taskIdentity(options, adapters, config)
    try {
      const payload = storedPayload(options.payload, this.#payloadRules())
      return await this.#protect({ ...identity, payload }, options)
    } catch (error) {
      const canRun = DatabaseError.is(error) || LeaseExpiredError.is(error) || PayloadTooLargeError.is(error)
      if (!canRun || config.onRegisterFailure === 'throw') throw error
      return this.#runUnprotected(identity, options, error)
    }
  }

  /** Ends a task of this process by its id, as its handle would. @throws TaskLostError, DatabaseError */
  async unregister(id: string): Promise<void> {
    const { processId, tasks } = this.#parts.current()
    const task = tasks.get(id)
    if (task !== undefined) return task.complete()
    throw new TaskLostError(`Task ${fullTaskId(processId, id)} is not this process's. Discard the result.`)
  }

  async run<T>(options: RegisterOptions, work: (task: TaskHandle) => Promise<T>): Promise<T> {
    const task = await this.register(options)
    let result: T
    try {
      result = await (task.jobRef === null ? work(task) : this.#isolation.within(() => work(task)))
    } catch (error) {
      if ((await task.settle()) === 'open') await this.#endFailed(task)
      throw error
    }
    const became = await task.settle()
    if (became === 'open') await task.complete()
    if (became === 'lost') throw task.lost()
    return result
  }

  async #protect(row: Omit<NewTask, 'nonce'>, options: RegisterOptions): Promise<Task> {
    const signals = [this.#parts.closed, ...(options.signal === undefined ? [] : [options.signal])]
    this.#living()
    // A task without a jobRef is no suspect, and may last as long as its process.
    const together = row.jobRef === null ? () => undefined : await this.#isolation.enter(signals)
    const task = await this.#insert(row, options, { leave: together, isolated: false, signals })
    if (task !== undefined) return task
    const leave = await this.#isolation.enterAlone(signals)
    return (await this.#insert(row, options, { leave, isolated: true, signals }))!
  }

  /** Undefined: the job is a suspect, so it must have the process to itself. */
  async #insert(
    row: Omit<NewTask, 'nonce'>,
    options: RegisterOptions,
    { leave, isolated, signals }: Place,
  ): Promise<Task | undefined> {
    let incarnation: Incarnation
    try {
      options.signal?.throwIfAborted()
      incarnation = this.#living()
      await this.#makeCertain(row, incarnation)
      if (incarnation.tasks.get(row.id) !== undefined) throw inFlight(row.id)
    } catch (error) {
      leave()
      throw error
    }
    const numbered = { ...row, nonce: incarnation.writes.nextNonce() }
    const task = new Task(numbered, new Running(leave), incarnation, this.#hooks)
    const answer = await task.write(isolated, this.#waitForJob(task, incarnation, signals))
    if (answer === 'suspect') return undefined
    if (answer === 'taken') throw taken(row)
    if (answer === 'dead') {
      this.#parts.closed.throwIfAborted()
      this.#parts.onDead()
      throw incarnation.lost()
    }
    if (answer !== 'written') throw answer
    // It may have taken so long that this process counts as dead by now: whoever begins must know that it lives.
    if (incarnation.ended || incarnation.lease.expired) await incarnation.confirm()
    task.begin()
    this.#limit(task, options)
    this.#parts.events.emit('registered', taskEvent(task))
    return task
  }

  /**
   * Waits, each time somewhat longer, for a row that somebody has locked: mostly a transaction in which the job's last run
   * is completed. Rejects when the task is not to be registered any more.
   */
  #waitForJob(
    { id, jobRef }: Pick<TaskIdentity, 'id' | 'jobRef'>,
    incarnation: Incarnation,
    signals: readonly AbortSignal[],
  ): () => Promise<void> {
    const { config, events } = this.#parts
    const times = pauses()
    const isLate = monotonicNow() + config.orphanThreshold
    let told = false
    let all: AbortSignal | undefined
    return async () => {
      // Mostly nobody waits, and each such signal costs those it follows.
      all ??= AbortSignal.any([...signals])
      await delay(times.next().value, undefined, { signal: all }).catch(() => undefined) // Seen below.
      all.throwIfAborted()
      if (incarnation.ended) throw incarnation.lost()
      if (told || monotonicNow() < isLate) return
      told = true
      const what = `task ${id} can't be registered yet: somebody has the row of job ${JSON.stringify(jobRef)} locked`
      events.fail(what, new Error('a transaction that ends its last run is open still'))
    }
  }

  /** @throws DatabaseError while an INSERT of the same id or job may happen yet */
  async #makeCertain(identity: TaskIdentity, incarnation: Incarnation): Promise<void> {
    const { tasks } = incarnation
    const { id, queue, jobRef } = identity
    const isUncertain = () =>
      tasks.get(id)?.isUncertain === true || (jobRef !== null && tasks.isUncertain(queue, jobRef))
    if (isUncertain()) await this.#parts.settle(incarnation)
    if (isUncertain()) throw uncertain(identity)
  }

  #runUnprotected(identity: TaskIdentity, options: RegisterOptions, error: unknown): UnprotectedTask {
    const { events, current, unprotected } = this.#parts
    const { processId } = current()
    const task = new UnprotectedTask(identity, processId, new Running(), (ended) => unprotected.ended(ended))
    unprotected.add(task)
    this.#limit(task, options)
    events.emit('unprotected', { ...taskEvent(task), error })
    return task
  }

  #limit(task: Task | UnprotectedTask, { maxRuntime, onOverdue: action = 'abort' }: RegisterOptions): void {
    if (maxRuntime === undefined) return
    task.running.limit(maxRuntime, () => void this.#overdue(task, maxRuntime, action))
  }

  #payloadRules(addedBytes = 0) {
    const { store, config, codec } = this.#parts
    const maxPayloadBytes = config.maxPayloadBytes + addedBytes
    return { codec, maxPayloadBytes, maxStoredBytes: store.limits.payloadBytes }
  }

  /** The incarnation that may take tasks now. */
  #living(): Incarnation {
    const incarnation = this.#parts.current()
    this.#parts.closed.throwIfAborted()
    if (!incarnation.ended && !incarnation.lease.expired) return incarnation
    throw new LeaseExpiredError(
      `Process ${incarnation.processId} takes no tasks: no heartbeat has succeeded for ` +
        `${Math.round(incarnation.lease.age())} ms. It goes on by itself when the database answers again.`,
    )
  }

  async #overdue(
    task: Task | UnprotectedTask,
    maxRuntime: number,
    asked: NonNullable<RegisterOptions['onOverdue']>,
  ): Promise<void> {
    const { events } = this.#parts
    if (!(await task.runs())) return
    // Nobody could recover what has no row.
    const action = asked === 'recover' && !task.protected ? 'abort' : asked
    events.emit('taskOverdue', { ...taskEvent(task), maxRuntime, action })
    if (action === 'report') return
    const goesOn = action === 'recover' ? ' It is recovered elsewhere: discard the result.' : ''
    task.running.controller.abort(
      new TaskOverdueError(
        `Task ${task.fullId} has run for longer than its maxRuntime (${maxRuntime} ms).${goesOn}`,
      ),
    )
    if (action === 'abort' || !task.protected) return
    task.giveUp().catch((error) => {
      if (!TaskLostError.is(error)) events.fail(`could not give up the overdue task ${task.fullId}`, error)
    })
  }

  #undecided({ fullId }: Task, error: unknown): void {
    const what = error === undefined ? 'is open still' : 'is unknown'
    this.#parts.events.fail(
      `task ${fullId} was completed in a transaction of which the outcome ${what} since its handler ended; its place ` +
        'is kept until that is known: commit or roll back every transaction before the handler ends',
      error ?? new Error('no commit and no rollback'),
    )
  }

  /**
   * Work that failed is completed, work that was cut short is given back; work that took too long has failed, or it
   * would run again for ever. Its own error matters more to the caller than what becomes of the row, which is reported
   * here.
   */
  async #endFailed(task: Task | UnprotectedTask): Promise<void> {
    try {
      const { aborted, reason } = task.signal
      if (aborted && !TaskOverdueError.is(reason)) await task.release()
      else await task.complete()
    } catch (error) {
      // A lost task is recovered already, or about to be.
      if (!TaskLostError.is(error)) this.#parts.events.fail('could not end a failed task', error)
    }
  }
}

const taskEvent = ({ fullId, queue, jobRef }: TaskHandle) => ({ taskId: fullId, queue, jobRef })

const taken = ({ id, jobRef, attempt }: TaskIdentity): JobTakenError =>
  new JobTakenError(
    `Task ${id} can't be registered: attempt ${attempt} of job ${JSON.stringify(jobRef)} is not newer than the one that is in ` +
      'flight. Leave the job to that.',
  )

const inFlight = (id: string): ConfigError =>
  new ConfigError(
    `A task with the id ${JSON.stringify(id)} is in flight already, or its end is uncertain; give it another id.`,
  )
