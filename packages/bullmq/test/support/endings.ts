import type { AnyDatabase, Ledger } from '@holdfast/chaos'
import { sql } from 'kysely'
import type { ProtectedJob } from '../../src/index.js'
import { bullmq } from './bull.js'

/**
 * What a run of a job does about its own task. `commit …`: in a transaction with an effect of its own. `… and go on`: until
 * the gate of the job's id opens; `commit late`: not before that, and it notes how that was answered; `go on`: that alone.
 */
export type Ending =
  | 'commit'
  | 'commit and throw'
  | 'commit and rate limit'
  | 'commit and move to wait'
  | 'commit and move to delayed'
  | 'commit and return what JSON can’t hold'
  | 'commit and go on'
  | 'commit late'
  | 'go on'
  | 'complete twice'
  | 'release'
  | 'release and throw'
  | 'release and go on'
  | 'complete after release'

export interface EndingParts {
  readonly db: AnyDatabase
  readonly job: ProtectedJob
  readonly ledger: Ledger
}

export async function endTask(ending: Ending, { db, job, ledger }: EndingParts): Promise<unknown> {
  const commit = (): Promise<void> =>
    db.transaction().execute(async (trx) => {
      await sql`insert into effects values (${job.id})`.execute(trx)
      await job.task.complete({ trx })
    })
  const gate = async (): Promise<void> => {
    while (!ledger.isOpen(job.id!)) await new Promise((resolve) => setTimeout(resolve, 10))
  }
  switch (ending) {
    case 'commit':
      return commit()
    case 'commit and throw':
      await commit()
      throw new Error('too late')
    case 'commit and rate limit':
      await commit()
      throw new Error('bullmq:rateLimitExceeded')
    case 'commit and move to wait':
      await commit()
      await job.moveToWait(job.token!)
      throw new bullmq.WaitingError()
    case 'commit and move to delayed':
      await commit()
      await job.moveToDelayed(Date.now(), job.token)
      // So long that others have begun it.
      await new Promise((resolve) => setTimeout(resolve, 500))
      throw new bullmq.DelayedError()
    case 'commit and return what JSON can’t hold':
      await commit()
      return 1n
    case 'commit and go on':
      await commit()
      return gate()
    case 'go on':
      ledger.note({ what: 'goes on', job: job.id! })
      return gate()
    case 'commit late':
      await gate()
      return commit().then(
        () => ledger.note({ what: 'answer', job: job.id!, detail: 'committed' }),
        (error) => ledger.note({ what: 'answer', job: job.id!, detail: error.code }),
      )
    case 'complete twice':
      await job.task.complete()
      return job.task.complete()
    case 'release':
      return job.task.release()
    case 'release and throw':
      await job.task.release()
      throw new Error('too late')
    case 'release and go on':
      await job.task.release()
      return gate()
    case 'complete after release':
      await job.task.release()
      return job.task.complete()
  }
}
