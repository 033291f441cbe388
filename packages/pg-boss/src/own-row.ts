import { type AnyTransaction, type CompleteOptions, type TaskHandle, TaskLostError } from '@holdfast/core'
import type { Delivery } from './delivery.js'
import type { ProtectedBoss, Running } from './protected-boss.js'
import { inTransaction } from './run.js'
import { endJobs } from './settle.js'

/** The row of a job whose handler may end both, row and job. */
export class OwnRow {
  completed = false
  /** Like the row's, except that completing it ends the job in pg-boss with it. */
  readonly handle: TaskHandle

  constructor(protectedBoss: ProtectedBoss, running: Running, { job, active, row }: Delivery) {
    const endIn = async (trx: AnyTransaction): Promise<void> => {
      await row.complete({ trx })
      const end = { kind: 'completed', output: undefined } as const
      const held = await endJobs(protectedBoss, running, trx, [{ active, end }])
      if (held.size === 1) return
      throw new TaskLostError(
        `Job ${job.id} is no longer active under this worker in pg-boss. Discard the result.`,
      )
    }
    const complete = async ({ trx }: CompleteOptions = {}): Promise<void> => {
      if (trx === undefined) await inTransaction(protectedBoss.parts.db, (_, own) => endIn(own))
      else await endIn(trx)
      this.completed = true
    }
    this.handle = new Proxy(row, {
      get(target, member) {
        if (member === 'complete') return complete
        const value = Reflect.get(target, member, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  }
}
