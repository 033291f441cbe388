import type { QueueAdapter } from './adapter.js'
import { monotonicNow } from './clock.js'
import type { PayloadCodec } from './codec.js'
import { ConfigError, DatabaseError, LeaseExpiredError, TaskLostError, TaskOverdueError } from './errors.js'
import { type Events, messageOf } from './events.js'
import { fullTaskId } from './identity.js'
import { InFlight } from './in-flight.js'
import type { Incarnation, Registered } from './incarnation.js'
import { Isolation, type Leave } from './isolation.js'
import type { RegisterOptions } from './monitor-types.js'
import { newTask, storedPayload } from './new-task.js'
import type { MonitorConfig } from './options.js'
import type { NewTask } from './store/new-tasks.js'
import type { Store } from './store/store.js'
import { Handle, type TaskHandle } from './task-handle.js'
import { UnprotectedHandle } from './unprotected-handle.js'

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
}

/** What a release may add to a payload, in bytes. */
const ADDED_BYTES = 16_384

/** Makes tasks known and runs them. */
export class Registrar {
  readonly #parts: RegistrarParts
  readonly #isolation = new Isolation()

  constructor(parts: RegistrarParts) {
    this.#parts = parts
  }

  async register(options: RegisterOptions): Promise<Handle | UnprotectedHandle> {
    const { config, adapters, events } = this.#parts
    const task = newTask(options, { adapters, ...this.#payloadRules() })
    try {
      return await this.#protect(task, options)
    } catch (error) {
      const unreachable = DatabaseError.is(error) || LeaseExpiredError.is(error)
      if (!unreachable || config.onRegisterFailure === 'throw') throw error
      const handle = new UnprotectedHandle(task, this.#parts.current().processId)
      events.emit('unprotected', { ...taskEvent(handle), error })
      return handle
    }
  }

  /** Ends a task of this process by its id, as its handle would. @throws TaskLostError, DatabaseError */
  async unregister(id: string): Promise<void> {
    const incarnation = this.#parts.current()
    const handle = incarnation.tasks.get(id)?.handle ?? incarnation.pending.get(id)?.handle
    if (handle !== undefined) return handle.complete()
    // Doubtful, or not of this incarnation.
    if (await incarnation.completions.add(id)) return
    throw new TaskLostError(
      `Task ${fullTaskId(incarnation.processId, id)} is not this process's. Discard the result.`,
    )
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

  async #protect(task: NewTask, options: RegisterOptions): Promise<Handle> {
    const signals = [this.#parts.closed, ...(options.signal === undefined ? [] : [options.signal])]
    this.#living()
    // A task without a jobRef is no suspect, and may last as long as its process.
    const together = task.jobRef === null ? () => undefined : await this.#isolation.enter(signals)
    const handle = await this.#insert(task, options, together, false)
    if (handle !== undefined) return handle
    const alone = await this.#isolation.enterAlone(signals)
    return (await this.#insert(task, options, alone, true))!
  }

  /** Undefined: the job is a suspect, so it must have the process to itself. */
  async #insert(
    task: NewTask,
    options: RegisterOptions,
    leave: Leave,
    isolated: boolean,
  ): Promise<Handle | undefined> {
    const { config } = this.#parts
    let incarnation: Incarnation
    try {
      options.signal?.throwIfAborted()
      incarnation = this.#living()
      if (incarnation.knows(task.id)) throw inFlight(task.id)
    } catch (error) {
      leave()
      throw error
    }
    const entry = new InFlight(leave)
    incarnation.tasks.set(task.id, entry)
    let written: Registered | Error
    try {
      written = await incarnation.registrations.add({ task, isolated })
    } catch (cause) {
      // The row may be there all the same; heartbeats delete it until that is certain.
      incarnation.forget(task.id, { kind: 'unregister', until: monotonicNow() + config.orphanThreshold })
      throw new DatabaseError(`Could not register task ${task.id}: ${messageOf(cause)}`, { cause })
    }
    if (written !== 'written') {
      incarnation.forget(task.id)
      if (written === 'suspect') return undefined
      if (written !== 'dead') throw written
      this.#parts.onDead()
      throw incarnation.lost()
    }
    // It may have taken so long that this process counts as dead by now: whoever begins must know that it lives.
    if (incarnation.ended || incarnation.lease.expired) await incarnation.confirm()
    return this.#handle(task, options, incarnation, entry)
  }

  #handle(task: NewTask, options: RegisterOptions, incarnation: Incarnation, entry: InFlight): Handle {
    const { store, config, events, onGivenBack } = this.#parts
    const handle = new Handle(task, entry, incarnation, {
      ...{ store, orphanThreshold: config.orphanThreshold },
      storePayload: (payload) => storedPayload(payload, this.#payloadRules(ADDED_BYTES)),
      onCompleted: (done) => events.emit('completed', taskEvent(done)),
      onGivenBack,
      onUndecided: (undecided, error) => this.#undecided(undecided, error),
    })
    entry.handle = handle
    const { maxRuntime, onOverdue: action = 'abort' } = options
    if (maxRuntime !== undefined) {
      entry.limit(maxRuntime, () => void this.#overdue(handle, entry, maxRuntime, action))
    }
    events.emit('registered', taskEvent(handle))
    return handle
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
    handle: Handle,
    entry: InFlight,
    maxRuntime: number,
    action: NonNullable<RegisterOptions['onOverdue']>,
  ): Promise<void> {
    const { events } = this.#parts
    await handle.look()
    if (handle.ended) return
    events.emit('taskOverdue', { ...taskEvent(handle), maxRuntime, action })
    if (action === 'report') return
    const goesOn = action === 'recover' ? ' It is recovered elsewhere: discard the result.' : ''
    entry.controller.abort(
      new TaskOverdueError(
        `Task ${handle.fullId} has run for longer than its maxRuntime (${maxRuntime} ms).${goesOn}`,
      ),
    )
    if (action === 'abort') return
    handle.giveUp().catch((error) => {
      if (!TaskLostError.is(error)) events.fail(`could not give up the overdue task ${handle.fullId}`, error)
    })
  }

  #undecided({ fullId }: Handle, error: unknown): void {
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
  async #endFailed(task: Handle | UnprotectedHandle): Promise<void> {
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

const inFlight = (id: string): ConfigError =>
  new ConfigError(
    `A task with the id ${JSON.stringify(id)} is in flight already, or its end is uncertain; give it another id.`,
  )
