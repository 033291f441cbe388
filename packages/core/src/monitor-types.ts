import type { MonitorEventName } from './events.js'
import type { ProcessRow } from './store/processes.js'

export interface RegisterOptions {
  /** The adapter that can recover this task. @default the monitor's only adapter */
  readonly queue?: string
  /** What the adapter needs to make the job runnable again. Plain JSON. */
  readonly payload: unknown
  /** The identity of the job in its queue, unique for all time; a newer `attempt` of it takes the task over. */
  readonly jobRef?: string
  /**
   * Which attempt of the job this is: a whole number that its queue raises with each, as the microsecond at which it gave
   * the job away. So whoever was paused between fetching the job and registering it does not take it from one who fetched
   * it later. @default 0, which takes over from 0
   */
  readonly attempt?: number
  /** @default a random UUID */
  readonly id?: string
  /** What becomes of the job when a process dies with it in flight. @default the monitor's `onCrash` */
  readonly onCrash?: 'requeue' | 'quarantine'
  /** Milliseconds the task may run before it is overdue: `taskOverdue` is emitted once. @default no limit */
  readonly maxRuntime?: number
  /**
   * What becomes of an overdue task. `report`: only the event. `abort`: its signal aborts with `TaskOverdueError` too.
   * `recover`: the task is also given back and recovered as after a crash; a later `complete()` is refused.
   * @default 'abort'
   */
  readonly onOverdue?: 'report' | 'abort' | 'recover'
  /**
   * Gives up waiting to be registered: `register()` then rejects with its reason, and no row is written. Once that has
   * begun it changes nothing.
   */
  readonly signal?: AbortSignal
}

export interface StopOptions {
  /** Milliseconds to wait for tasks in flight before they are given back; Infinity waits for all. @default 10000 */
  readonly drain?: number
}

export interface MonitorHealth {
  readonly state: 'new' | 'starting' | 'running' | 'stopping' | 'stopped'
  readonly processId: string
  /** Milliseconds of lease left on this process's own clock; 0 when expired. */
  readonly leaseRemainingMs: number
  /** For how long (ms) heartbeats have succeeded without a gap: only processes with at most this lease may be judged. */
  readonly gapFreeForMs: number
  /** What heartbeats go through now: a thread of their own, a reserved connection, or the pool that all share. */
  readonly heartbeatsThrough: 'thread' | 'reserved' | 'pool'
  /** Tasks that run here, also those that run unprotected. */
  readonly inFlight: number
  /** Tasks that were completed in a transaction of which nobody knows yet what became of it. */
  readonly undecided: number
  /** Writes of unknown outcome that heartbeats still settle. */
  readonly unsettled: number
  /** How often each event was emitted. */
  readonly events: Readonly<Partial<Record<MonitorEventName, number>>>
}

export interface MonitorStats {
  readonly processes: readonly ProcessRow[]
  readonly tasks: readonly { readonly queue: string; readonly tasks: number }[]
  readonly quarantined: number
}
