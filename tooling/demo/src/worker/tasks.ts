import type { AnyDatabase } from '@holdfast/chaos'
import type { HandOffHandler } from '@holdfast/graphile-worker'
import type { Task } from 'graphile-worker'
import type { Ledger } from './ledger.js'
import type { SlowCall } from './slow-call.js'

export interface Payload {
  readonly job: number
}

export interface Work {
  readonly db: AnyDatabase
  readonly ledger: Ledger
  readonly call: SlowCall
  /** The present process of Holdfast, or null without it. */
  processId(): string | null
}

/** An ordinary task of graphile-worker; Holdfast's plugin guards it without a change to it. */
export function ordinaryTask({ db, ledger, call, processId }: Work): Task {
  return async (payload, { job: { attempts: attempt }, abortSignal }) => {
    const { job } = payload as Payload
    const run = { job, attempt, processId: processId() }
    await ledger.write(db, 'start', run)
    try {
      await call(job, abortSignal ?? new AbortController().signal)
    } catch (error) {
      await ledger.write(db, 'fail', run)
      throw error
    }
    await ledger.write(db, 'finish', run)
  }
}

/** The same work, handed off: its finish row and the end of the job are one transaction. */
export function handOffHandler({ db, ledger, call, processId }: Work): HandOffHandler {
  return async (payload, { job: { attempts: attempt }, abortSignal, task }) => {
    const { job } = payload as Payload
    const run = { job, attempt, processId: processId() }
    await ledger.write(db, 'start', run)
    await call(job, abortSignal)
    await db.transaction().execute(async (trx) => {
      await ledger.write(trx, 'finish', run)
      await task.complete({ trx })
    })
  }
}
