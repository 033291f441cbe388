import type { Transaction } from 'kysely'

// biome-ignore lint/suspicious/noExplicitAny: a transaction on any schema of the user's must fit
export type AnyTransaction = Transaction<any>

export interface CompleteOptions {
  /**
   * Complete inside your own Kysely transaction, so that your writes and the end of the task are one. A transaction at
   * repeatable read or serializable must have begun to read after the task was registered: an older snapshot of Postgres
   * has no such row, which is refused.
   */
  readonly trx?: AnyTransaction
}

export interface ReleaseOptions {
  /** Replaces the payload. Plain JSON; may be up to 16 KiB larger than `maxPayloadBytes`, for what is added. */
  readonly payload?: unknown
}

/** A registered task in this process's hands. */
export interface TaskHandle {
  readonly id: string
  /** `<process id>/<task id>` */
  readonly fullId: string
  readonly queue: string
  readonly jobRef: string | null
  /**
   * Aborts when the work should end: with `LeaseExpiredError` when others may soon recover this task, with
   * `TaskLostError` when this process was declared dead, with `StoppedError` when the drain time of `stop()` is over,
   * with `TaskOverdueError` after its `maxRuntime`.
   */
  readonly signal: AbortSignal
  /** False when it could not be registered and runs all the same (`onRegisterFailure`): a crash loses it. */
  readonly protected: boolean
  /**
   * Not known to have ended. So also while nobody knows yet what becomes of the transaction that it was completed in, and
   * while the answer of a write is missing; false once it is completed or released for certain, or known to be others'.
   */
  readonly open: boolean
  /**
   * Ends the task. With `trx` the end commits or rolls back together with the caller's own writes; after a rollback
   * the task is in flight still, so complete or release it again. Inside `run()`, and in the handlers of adapters, what
   * your work came to is what counts then: work that throws has failed, work that returns is completed.
   *
   * @throws TaskLostError when the task is no longer this process's: discard the result
   * @throws ConfigError when `trx` reads a snapshot that is older than the task (see there), or when it was completed in
   * another transaction, which is open still a lease later
   * @throws DatabaseError when the database could not be reached; without `trx` the end is then retried with every
   * heartbeat until it is certain
   */
  complete(options?: CompleteOptions): Promise<void>
  /**
   * Gives the task back: its adapter recovers it at once. Counts as no crash. With `payload` the adapter gets that
   * instead of what was registered, for instance to hear why.
   *
   * @throws TaskLostError, DatabaseError (the release is then retried with every heartbeat)
   * @throws ConfigError when it was completed in a transaction that is open still a lease later
   * @throws PayloadError, PayloadTooLargeError, NotProtectedError
   */
  release(options?: ReleaseOptions): Promise<void>
  /**
   * Resolves when this process is known to be alive still; waits for the next successful heartbeat where the last one
   * failed or the lease has run out meanwhile. Ask before an effect that must not happen twice.
   *
   * @throws TaskLostError when this process was declared dead
   */
  confirm(): Promise<void>
}

export interface SettleOptions {
  /**
   * For the handler that is at work still, before it ends its task in another way: its transaction may be waiting for that,
   * so that it is waited for no longer than a lease.
   * @default false
   */
  readonly soon?: boolean
}

/**
 * What became of a task when its handler has settled. `open`: it is this process's still to end. `completed`, `released`: so
 * it was, for certain or as soon as the database answers. `lost`: it is not this process's any more, so that nothing of what
 * was done counts.
 */
export type Settled = 'open' | 'completed' | 'released' | 'lost'
