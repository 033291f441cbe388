import type { MonitorEventName, MonitorEvents } from './events.js'
import type { MonitorHealth, RegisterOptions } from './monitor-types.js'
import type { MonitorConfig } from './options.js'
import type { JobHolder } from './store/processes.js'
import type { Settled, SettleOptions, TaskHandle } from './task/task-handle.js'

/** What an adapter uses of the monitor that it is given (`onStart`). */
export interface Monitor {
  /** The id of this process's present incarnation. */
  readonly processId: string
  /** The options with all defaults filled in. Frozen. */
  readonly config: MonitorConfig
  on<K extends MonitorEventName>(name: K, listener: (...args: MonitorEvents[K]) => void): this
  off<K extends MonitorEventName>(name: K, listener: (...args: MonitorEvents[K]) => void): this
  /** See `TaskMonitor.register`. */
  register(options: RegisterOptions): Promise<TaskHandle>
  /**
   * What became of a task whose handler has settled. Asks the database where it was completed in a transaction of the
   * handler's, and waits while that is open, or the database away.
   *
   * - `open`: it is this process's still to end. Nobody has ended it, or the transaction has rolled back: what the handler
   *   came to is what counts. So it is for a task that runs unprotected and was completed in a transaction, of which
   *   nobody can know.
   * - `completed`: so it was, and where that was in a transaction this has committed. The job never runs again.
   * - `released`: it was given back, so that the job's next run is others'.
   * - `lost`: it was recovered or taken over by others, or this process was declared dead or has stopped.
   *
   * @param task as `register()` gave it
   * @throws ConfigError, DatabaseError with `soon`, where it is not known a lease later
   */
  settle(task: TaskHandle, options?: SettleOptions): Promise<Settled>
  /** Which process has a job in flight, alive or dead. @throws DatabaseError, ConfigError */
  holderOf(jobRef: string, queue?: string): Promise<JobHolder | undefined>
  /** Whether the database has the task in flight in this process. @throws DatabaseError */
  isRegistered(task: TaskHandle | string): Promise<boolean>
  /** Notes that tasks of this process have made progress. @throws DatabaseError */
  updateHeartbeats(tasks?: readonly (TaskHandle | string)[]): Promise<number>
  /** What this process knows of itself, without asking the database. */
  health(): MonitorHealth
}
