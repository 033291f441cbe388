import {
  type AnyTransaction,
  type CompleteOptions,
  ConfigError,
  DatabaseError,
  type ReleaseOptions,
  type TaskHandle,
  TaskLostError,
  within,
} from '@holdfast/core'
import { removeJob } from './job-sql.js'
import type { Delivery } from './protected-task.js'
import { inDatabase } from './run.js'
import { writeSuccessNow } from './write-end.js'

/** The row of a job that is in graphile-worker still, whose handler may end both, row and job. */
export class OwnRow {
  readonly row: TaskHandle
  /**
   * Like the row's, except that completing it ends the job in graphile-worker first, and that a release waits for the
   * handler to settle: the job would run again beside it.
   */
  readonly handle: TaskHandle
  readonly #delivery: Delivery
  /** What its handler called last that was not refused; of `in transaction` nobody knows here whether it has held. */
  #endedBy: 'complete' | 'transaction' | 'release' | undefined
  #endedIn: WeakRef<AnyTransaction> | undefined

  constructor(row: TaskHandle, delivery: Delivery) {
    this.row = row
    this.#delivery = delivery
    const ends = {
      complete: ({ trx }: CompleteOptions = {}) =>
        trx === undefined ? this.#complete() : this.#completeIn(trx),
      release: (options?: ReleaseOptions) => this.#release(options),
    }
    this.handle = new Proxy(row, {
      get: (target, member) => {
        if (member === 'complete' || member === 'release') return ends[member]
        if (member === 'open') return target.open && this.#endedBy !== 'release'
        const value = Reflect.get(target, member, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  }

  /** Whether the handler completed it, if that has held. */
  get completed(): boolean {
    return this.#endedBy === 'complete' || this.#endedBy === 'transaction'
  }

  /** Whether the handler gave it back. */
  get givenBack(): boolean {
    return this.#endedBy === 'release'
  }

  async #complete(): Promise<void> {
    await this.assertOpen()
    const { pool, job } = this.#delivery
    const unhold = pool.jobs.hold(job)
    try {
      await writeSuccessNow(this.#delivery, this.row)
    } finally {
      unhold()
    }
    await this.#end('complete', () => this.row.complete())
  }

  async #completeIn(trx: AnyTransaction): Promise<void> {
    await this.assertOpen(trx)
    const { pool, job } = this.#delivery
    const unhold = pool.jobs.hold(job)
    try {
      await this.#endJobIn(trx)
    } finally {
      unhold()
    }
    this.#endedIn = new WeakRef(trx)
    await this.#end('transaction', () => this.row.complete({ trx }))
  }

  /** Gives the job back when the handler has settled. */
  async #release({ payload }: ReleaseOptions = {}): Promise<void> {
    if (!this.row.protected) return this.row.release()
    if (payload !== undefined) {
      throw new ConfigError(
        "release({ payload }) of a job: the payload of its row is the adapter's. Leave it out.",
      )
    }
    await this.assertOpen()
    this.#endedBy = 'release'
  }

  /**
   * Waits for a transaction that it was completed in, unless it is this one, which sees for itself whether the job is there.
   *
   * @throws TaskLostError when the handler has ended it
   * @throws ConfigError when that transaction is open still a lease later: it may be what waits for this
   */
  async assertOpen(trx?: AnyTransaction): Promise<void> {
    if (this.#endedBy === undefined) return
    if (this.#endedBy === 'transaction') {
      if (trx !== undefined && trx === this.#endedIn?.deref()) return
      if ((await this.#delivery.pool.monitor!.settle(this.row, { soon: true })) === 'open') return
    }
    throw this.#lost()
  }

  /** Ends the job in the transaction of its handler. */
  async #endJobIn(trx: AnyTransaction): Promise<void> {
    const { sameDatabase, tables, job } = this.#delivery
    if (sameDatabase) {
      if (await removeJob(inDatabase(trx), tables, job, await within(trx))) return
      throw this.#lost()
    }
    if (!this.row.protected) return
    throw new ConfigError(
      "complete({ trx }) of a tracked job needs the monitor in graphile-worker's database: hand the job off instead.",
    )
  }

  async #end(by: 'complete' | 'transaction', end: () => Promise<void>): Promise<void> {
    try {
      await end()
    } catch (error) {
      // One whose answer was lost is repeated until it is certain.
      if (DatabaseError.is(error)) this.#endedBy = by
      throw error
    }
    this.#endedBy = by
  }

  #lost(): TaskLostError {
    const { id } = this.#delivery.job
    return new TaskLostError(
      `Job ${id} is no longer locked by this worker, or was ended before. Discard the result.`,
    )
  }
}
