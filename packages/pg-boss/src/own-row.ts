import {
  type AnyTransaction,
  type CompleteOptions,
  ConfigError,
  DatabaseError,
  type ReleaseOptions,
  type Settled,
  type TaskHandle,
  TaskLostError,
} from '@holdfast/core'
import { sql } from 'kysely'
import type { Delivery } from './delivery.js'
import type { ProtectedBoss, Running } from './protected-boss.js'
import { inTransaction } from './run.js'
import { endJobs } from './settle.js'

/** Postgres's code of a lock that could not be had in time. */
const NO_LOCK = '55P03'

/** The row of a job whose handler may end both, row and job. */
export class OwnRow {
  /** Like the row's, except that completing it ends the job in pg-boss with it. */
  readonly handle: TaskHandle
  readonly #settle: () => Promise<Settled>
  /** What the handler did last about the row would, if it counts, have ended the job too. */
  #endsJob = false

  constructor(protectedBoss: ProtectedBoss, running: Running, { job, active, row }: Delivery) {
    this.#settle = () => running.monitor.settle(row)
    const endIn = async (trx: AnyTransaction): Promise<void> => {
      await row.complete({ trx })
      this.#endsJob = false
      const end = { kind: 'completed', output: undefined } as const
      const held = await endJobs(protectedBoss, running, trx, [{ active, end }])
      if (held.size === 0) {
        throw new TaskLostError(
          `Job ${job.id} is no longer active under this worker in pg-boss. Discard the result.`,
        )
      }
      this.#endsJob = true
    }
    const complete = async ({ trx }: CompleteOptions = {}): Promise<void> => {
      if (trx !== undefined) return endIn(trx)
      const { orphanThreshold } = running.monitor.config
      await inTransaction(protectedBoss.parts.db, async (run, own) => {
        // A transaction of the handler's that has ended it may wait for this one in turn.
        await run(sql`select set_config('lock_timeout', ${`${Math.ceil(orphanThreshold)}ms`}, true)`)
        await endIn(own)
      }).catch((cause) => {
        if (cause?.code !== NO_LOCK) throw cause
        throw new ConfigError(
          `Task ${row.fullId} was completed in a transaction that is open still: commit or roll back before you end it ` +
            'in another way.',
          { cause },
        )
      })
      await this.#settle() // The monitor hears of the commit, and lets the row go.
    }
    const release = async ({ payload }: ReleaseOptions = {}): Promise<void> => {
      if (payload !== undefined) {
        throw new ConfigError(
          "release({ payload }) of a job: the payload of its row is the adapter's. Leave it out.",
        )
      }
      const before = this.#endsJob
      this.#endsJob = false
      try {
        await row.release()
      } catch (error) {
        // That one may be done all the same, any other was refused.
        if (!DatabaseError.is(error)) this.#endsJob = before
        throw error
      }
    }
    const handle = new Proxy(row, {
      get(target, member) {
        if (member === 'complete') return complete
        if (member === 'release') return release
        const value = Reflect.get(target, member, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    this.handle = protectedBoss.give(handle)
  }

  /** What became of the row when its handler has settled. `completed`: so is the job. */
  async settle(): Promise<Settled> {
    const settled = await this.#settle()
    return settled === 'completed' && !this.#endsJob ? 'lost' : settled
  }
}
