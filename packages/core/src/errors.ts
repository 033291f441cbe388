/** A stable string per kind of error, safe to compare across copies of the package. */
export type HoldfastErrorCode =
  | 'HOLDFAST_ERROR'
  | 'HOLDFAST_ADAPTER'
  | 'HOLDFAST_ADAPTER_TIMEOUT'
  | 'HOLDFAST_CONFIG'
  | 'HOLDFAST_DATABASE'
  | 'HOLDFAST_LEASE_EXPIRED'
  | 'HOLDFAST_NOT_PROTECTED'
  | 'HOLDFAST_NOT_QUARANTINED'
  | 'HOLDFAST_NOT_STARTED'
  | 'HOLDFAST_PAYLOAD'
  | 'HOLDFAST_PAYLOAD_TOO_LARGE'
  | 'HOLDFAST_READ_ONLY_DATABASE'
  | 'HOLDFAST_SCHEMA_VERSION'
  | 'HOLDFAST_STOPPED'
  | 'HOLDFAST_TASK_LOST'
  | 'HOLDFAST_JOB_TAKEN'
  | 'HOLDFAST_TASK_OVERDUE'

/**
 * The base of every error this library throws on purpose. Test with `HoldfastError.is(error)` or a subclass's `is`:
 * it compares `code`, so it also works when ESM and CommonJS copies of the package meet in one process.
 */
export class HoldfastError extends Error {
  static readonly code: HoldfastErrorCode = 'HOLDFAST_ERROR'
  readonly code: HoldfastErrorCode

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = new.target.code
    this.name = nameOf(this.code)
  }

  static is<T extends typeof HoldfastError>(this: T, error: unknown): error is InstanceType<T> {
    if (typeof error !== 'object' || error === null || !('code' in error)) return false
    const { code } = error
    return this.code === 'HOLDFAST_ERROR'
      ? typeof code === 'string' && code.startsWith('HOLDFAST_')
      : code === this.code
  }
}

/** HOLDFAST_TASK_LOST → TaskLostError: class names don't survive minifiers, codes do. */
function nameOf(code: HoldfastErrorCode): string {
  if (code === 'HOLDFAST_ERROR') return 'HoldfastError'
  const words = code.slice('HOLDFAST_'.length).toLowerCase().split('_')
  return `${words.map((word) => word[0]?.toUpperCase() + word.slice(1)).join('')}Error`
}

/** Options are wrong. Thrown before any work starts; names every wrong option at once. */
export class ConfigError extends HoldfastError {
  static override readonly code = 'HOLDFAST_CONFIG'
}

/** The database refused or did not answer. `cause` is the driver's error. */
export class DatabaseError extends HoldfastError {
  static override readonly code = 'HOLDFAST_DATABASE'
}

/** An adapter broke its contract (wrong number of outcomes, unknown decision, …). */
export class AdapterError extends HoldfastError {
  static override readonly code = 'HOLDFAST_ADAPTER'
}

/** An adapter did not answer within `gcLockTtl`. Its tasks are kept, and tried again by the next sweep. */
export class AdapterTimeoutError extends HoldfastError {
  static override readonly code = 'HOLDFAST_ADAPTER_TIMEOUT'
}

/** The task runs unprotected (`onRegisterFailure`), so there is nothing to give back. */
export class NotProtectedError extends HoldfastError {
  static override readonly code = 'HOLDFAST_NOT_PROTECTED'
}

/** The task has run for longer than its `maxRuntime`. */
export class TaskOverdueError extends HoldfastError {
  static override readonly code = 'HOLDFAST_TASK_OVERDUE'
}

/** The task is no longer this process's: it was completed before, released, or recovered by another process. */
export class TaskLostError extends HoldfastError {
  static override readonly code = 'HOLDFAST_TASK_LOST'
}

/** Another attempt of the job, as new or newer, is in flight: leave the job to that. */
export class JobTakenError extends HoldfastError {
  static override readonly code = 'HOLDFAST_JOB_TAKEN'
}

/** No heartbeat has succeeded for so long that others may already recover this process's tasks. */
export class LeaseExpiredError extends HoldfastError {
  static override readonly code = 'HOLDFAST_LEASE_EXPIRED'
}

/** There is no such entry in quarantine. */
export class NotQuarantinedError extends HoldfastError {
  static override readonly code = 'HOLDFAST_NOT_QUARANTINED'
}

/** The monitor was used before `start()` resolved. */
export class NotStartedError extends HoldfastError {
  static override readonly code = 'HOLDFAST_NOT_STARTED'
}

/** The monitor was used after `stop()` began, or a task was cut short by it. */
export class StoppedError extends HoldfastError {
  static override readonly code = 'HOLDFAST_STOPPED'
}

/** The payload can't be stored so that it comes back the same. The message names the path. */
export class PayloadError extends HoldfastError {
  static override readonly code = 'HOLDFAST_PAYLOAD'
}

/** The stored payload would be larger than `maxPayloadBytes`. */
export class PayloadTooLargeError extends HoldfastError {
  static override readonly code = 'HOLDFAST_PAYLOAD_TOO_LARGE'
}

/** The tables are missing, too old, or newer in a breaking way. */
export class SchemaVersionError extends HoldfastError {
  static override readonly code = 'HOLDFAST_SCHEMA_VERSION'
}

/** The database takes no writes (a standby, or a read-only session). */
export class ReadOnlyDatabaseError extends HoldfastError {
  static override readonly code = 'HOLDFAST_READ_ONLY_DATABASE'
}
