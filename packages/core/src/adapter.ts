import type { Transaction } from 'kysely'
import type { Logger } from './logger.js'
import type { Monitor } from './monitor.js'

/** A task whose process is dead, or that was given back. */
export interface Orphan {
  /** `<process id>/<task id>` */
  readonly fullId: string
  readonly processId: string
  readonly taskId: string
  /** Number of this registration among those of its process, which no other has; 0 with the cause `retry`. */
  readonly nonce: number
  readonly queue: string
  readonly jobRef: string | null
  /** The payload as registered. */
  readonly payload: unknown
  /**
   * `crash`: its process died. `overdue`: it ran for longer than its `maxRuntime`; counts as a crash. `release`: its
   * process gave it back alive (`release()`, `stop()`); `retry`: a person took it out of quarantine. Neither is a crash.
   */
  readonly cause: 'crash' | 'overdue' | 'release' | 'retry'
  /** The crash policy that it was registered with: its own or, by name, its monitor's; null where that is a function. */
  readonly onCrash: 'requeue' | 'quarantine' | null
  /** Milliseconds since the lease of its process ended; null when the process row is gone. */
  readonly orphanedForMs: number | null
}

/** One job behind an orphan. `detail` is the adapter's own and travels from `expand` to `recover` untouched. */
export interface OrphanedJob {
  readonly orphan: Orphan
  readonly jobRef: string | null
  /** False: the dead process held the job but had not begun it, so this is no crash of the job. @default true */
  readonly started?: boolean
  readonly detail?: unknown
}

export type Decision =
  /**
   * Make the job runnable, at once or `notBefore` milliseconds from now. `backoff`: that is the monitor's own growing
   * pause and nobody's choice, so that a queue with a longer one may keep to its own. Only the monitor says so.
   */
  | { readonly kind: 'requeue'; readonly notBefore?: number; readonly backoff?: boolean }
  /** Keep the job from running again, visibly so in its queue where the queue can show it. */
  | { readonly kind: 'quarantine'; readonly reason: string }

export interface DecidedJob extends OrphanedJob {
  readonly decision: Decision
  /** How often this job was in flight in a dying process, this time included. */
  readonly crashes: number
  /** Stable when this recovery is repeated, unless `rename` was called; new for every registration. */
  readonly recoveryId: string
}

export type JobOutcome =
  /** Runnable again; `jobRef` is its identity from now on. */
  | { readonly kind: 'requeued'; readonly jobRef: string | null }
  /** The queue already runs it or offers it again: nothing was done. */
  | { readonly kind: 'alreadyThere' }
  /** It had finished; only the row was left. */
  | { readonly kind: 'finished' }
  /** A newer job took its place in the queue. */
  | { readonly kind: 'superseded' }
  /** The queue's own limit of attempts is used up: it was failed there, visibly; `jobRef` as below. */
  | { readonly kind: 'exhausted'; readonly reason: string; readonly jobRef?: string }
  /** `jobRef`: its identity in the queue from now on, if it is another: a retry finds it by that. */
  | { readonly kind: 'quarantined'; readonly jobRef?: string }
  /** Not recovered now; the row is kept and tried again. */
  | { readonly kind: 'failed'; readonly error: unknown }

export interface RecoveryContext {
  /**
   * The monitor's own transaction. What is written through it commits together with the end of the orphan's row.
   * Plugins of the user's Kysely are not applied.
   *
   * @throws AdapterError when the adapter declares `atomicRecovery: false`: then there is none to join
   */
  readonly trx: Transaction<unknown>
  /** Aborts when this recovery has lost its right to go on; what is not done by then is done by another. */
  readonly signal: AbortSignal
  readonly logger: Logger
  /** Which of these jobs of this queue have a task row of their own now, be it in this batch or anywhere else. */
  registered(jobRefs: readonly string[]): Promise<ReadonlySet<string>>
  /**
   * Full ids of those of these orphans whose rows are there still: of the others the recovery has been committed, or was
   * never needed. For `onSweep`, to follow up what `recover` did.
   */
  remaining(orphans: readonly Pick<Orphan, 'fullId' | 'processId' | 'nonce'>[]): Promise<ReadonlySet<string>>
  /**
   * For a queue elsewhere that gives a recovered job a new identity: writes that down before the job can run, so that its
   * next run takes the row over, and a repeat of this recovery (whose orphan then has the new `jobRef`) finds what was
   * done. Only for a row that stands for one job: the others of it would go with it. With `atomicRecovery` there is
   * nothing to do: the outcome says it.
   *
   * @throws AdapterError when the row is not this recovery's any more, or another task has that `jobRef`: undo what was
   * done
   */
  rename(orphan: Orphan, jobRef: string): Promise<void>
}

export interface AdapterCapabilities {
  /**
   * True: `recover` writes through `context.trx`, so that recovery and the end of the row are one transaction. False:
   * the queue is elsewhere; the rows are claimed, recovered, and ended in a second transaction. When the one who recovers
   * dies or leaves in between, another calls `recover` again with the same `recoveryId`, perhaps while the first call is
   * still under way.
   */
  readonly atomicRecovery: boolean
  /** A recovered job keeps its identity. */
  readonly preservesJobId: boolean
  /** `notBefore` of a decision is honoured. False: the monitor itself keeps the task until then. */
  readonly delay: boolean
}

/** Connects one queue. A plain frozen object made by a factory. */
export interface QueueAdapter {
  /** The queue's name, written on every task row; must be unique within a monitor. */
  readonly name: string
  readonly capabilities: AdapterCapabilities
  /**
   * Must answer every job that the given rows stand for, each with the orphan it came from.
   * Left out: one job a row.
   */
  expand?(orphans: readonly Orphan[], context: RecoveryContext): Promise<readonly OrphanedJob[]>
  /**
   * Must carry out each decision exactly once, whatever the queue still holds of the job, and must be a no-op when
   * repeated. Must answer one outcome per job, in order. A throw undoes the batch and is retried row by row.
   */
  recover(jobs: readonly DecidedJob[], context: RecoveryContext): Promise<readonly JobOutcome[]>
  /**
   * Called after each sweep of this queue, by whoever sweeps it: for upkeep that one process at a time should do. With
   * `atomicRecovery` `context.trx` is a transaction of its own. Must end when `context.signal` aborts.
   */
  onSweep?(context: RecoveryContext): void | Promise<void>
  /** Called when the monitor has started, before `start()` resolves. */
  onStart?(monitor: Monitor): void | Promise<void>
  /** Called when this process was declared dead and has registered anew. Must stop what the old identity held. */
  onEvicted?(monitor: Monitor): void | Promise<void>
  /** Called when `stop()` begins. Must take no more jobs; `signal` aborts when the drain time is over. */
  onStop?(monitor: Monitor, signal: AbortSignal): void | Promise<void>
}
