import { EventEmitter } from 'node:events'
import type { JobOutcome, Orphan } from './adapter.js'
import { HoldfastError } from './errors.js'
import type { Logger } from './logger.js'

export interface TaskEvent {
  readonly taskId: string
  readonly queue: string
  readonly jobRef: string | null
}

export interface RecoveredEvent {
  /** The full id of the task that ended. */
  readonly taskId: string
  readonly queue: string
  readonly jobRef: string | null
  /** The job's identity from now on; differs from `jobRef` where the queue had to add the job anew. */
  readonly newJobRef: string | null
  readonly outcome: JobOutcome['kind']
  readonly fromProcess: string
  readonly cause: Orphan['cause']
  /** How often this job was in flight in a dying process, this time included. */
  readonly crashes: number
  /** Milliseconds between the end of the dead process's lease and this recovery; null when its row was gone. */
  readonly orphanedForMs: number | null
}

export interface QuarantinedEvent {
  /** What `monitor.quarantine` knows it by. */
  readonly id: string
  /** The full id of the task that ended. */
  readonly taskId: string
  readonly queue: string
  readonly jobRef: string | null
  readonly fromProcess: string
  readonly reason: string
  readonly lastError: string
  /** How often the job was in flight in a dying process. */
  readonly crashes: number
}

export interface OverdueEvent extends TaskEvent {
  readonly maxRuntime: number
  /** What becomes of it: see `RegisterOptions.onOverdue`. */
  readonly action: 'report' | 'abort' | 'recover'
}

export interface SweepEvent {
  readonly queue: string
  /** Processes this sweep found dead and fenced. */
  readonly fenced: readonly string[]
  readonly recovered: number
  readonly quarantined: number
  /** Tasks whose recovery failed; they are kept and tried again. */
  readonly failed: number
  readonly durationMs: number
}

/** Every event of a monitor with its arguments. */
export interface MonitorEvents {
  started: [{ processId: string }]
  stopped: [{ processId: string; released: number }]
  registered: [TaskEvent]
  /** A task runs although it could not be registered (`onRegisterFailure: 'run-unprotected'`): a crash loses it. */
  unprotected: [TaskEvent & { error: unknown }]
  completed: [TaskEvent]
  taskOverdue: [OverdueEvent]
  recovered: [RecoveredEvent]
  recoveryFailed: [{ taskId: string; queue: string; jobRef: string | null; error: string; attempts: number }]
  quarantined: [QuarantinedEvent]
  evicted: [{ processId: string; newProcessId: string; tasks: number }]
  leaseExpired: [{ processId: string; tasks: number }]
  heartbeatFailed: [{ error: unknown; failures: number }]
  /** The event loop runs again after it was blocked for longer than `heartbeatInterval`. */
  eventLoopBlocked: [{ blockedForMs: number }]
  sweep: [SweepEvent]
  unknownQueue: [{ queue: string; tasks: number }]
  error: [HoldfastError]
}

export type MonitorEventName = keyof MonitorEvents

type Listener<K extends MonitorEventName> = (...args: MonitorEvents[K]) => void

/** A typed emitter whose listeners can do no harm: what they throw is reported, never propagated. */
export class Events {
  readonly #emitter = new EventEmitter()
  readonly #counts = new Map<MonitorEventName, number>()
  readonly #logger: Logger

  constructor(logger: Logger) {
    this.#logger = logger
    this.#emitter.setMaxListeners(0)
  }

  on<K extends MonitorEventName>(name: K, listener: Listener<K>): void {
    this.#emitter.on(name, listener as (...args: unknown[]) => void)
  }

  off<K extends MonitorEventName>(name: K, listener: Listener<K>): void {
    this.#emitter.off(name, listener as (...args: unknown[]) => void)
  }

  emit<K extends MonitorEventName>(name: K, ...args: MonitorEvents[K]): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1)
    for (const listener of this.#emitter.listeners(name)) this.#call(name, listener as Listener<K>, args)
  }

  /** Emits `error` and writes it to the log, so that it is seen even when nobody listens. */
  fail(what: string, cause: unknown): void {
    const error = new HoldfastError(`${what}: ${messageOf(cause)}`, { cause })
    this.#logger.error(error.message)
    this.emit('error', error)
  }

  /** How often each event was emitted since this monitor was made. */
  counts(): Readonly<Partial<Record<MonitorEventName, number>>> {
    return Object.fromEntries(this.#counts)
  }

  #call<K extends MonitorEventName>(name: K, listener: Listener<K>, args: MonitorEvents[K]): void {
    const report = (error: unknown): void =>
      this.#logger.error(`a listener of '${name}' threw: ${messageOf(error)}`)
    try {
      const result: unknown = listener(...args)
      if (result instanceof Promise) result.catch(report)
    } catch (error) {
      report(error)
    }
  }
}

/** Longest error text that is stored, in characters. */
const MAX_STORED = 4_000

/** A text that every database stores: no NUL, and no longer than a person reads. */
export const storable = (text: string): string => text.replaceAll('\0', '\ufffd').slice(0, MAX_STORED)

/** An error as `last_error` keeps it. */
export const storedMessageOf = (error: unknown): string =>
  storable(HoldfastError.is(error) ? `${error.code}: ${error.message}` : messageOf(error))

export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ')
  if (error instanceof Error) return error.message || error.name || 'an error without a message'
  return String(error) || 'an empty error'
}
