import { type AnyDatabase, type Ledger, legDatabase } from '@holdfast/chaos'
import { sql, type Transaction } from 'kysely'
import type { ProtectedJob } from '../../src/index.js'

/**
 * What a run of a job does about its own task. `complete twice`, `release`, `release and throw`, `complete after release`:
 * in no transaction; `release and go on` until the gate of the job's id opens; `commit late`: not before that, and it
 * notes how that was answered. The others all in a transaction with an effect of its own: `throw` in the middle;
 * `broken`, a commit that fails; `swallow` the rollback and return; `again` after a rollback; `commit`; `commit and
 * throw`; `linger`, throw with the transaction open, which commits or rolls back as the gates say; `cut short`, throw once
 * the signal has aborted; `commit and go on`; `commit once told`, by the gate `commit` and the job's id, and go on.
 */
export type Ending =
  | 'throw'
  | 'broken'
  | 'swallow'
  | 'again'
  | 'commit'
  | 'commit and throw'
  | 'linger'
  | 'cut short'
  | 'commit and go on'
  | 'commit once told'
  | 'commit late'
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

const undone = new Error('undone')

export async function endTask(ending: Ending, parts: EndingParts): Promise<void> {
  const { db, job, ledger } = parts
  const complete = async (trx: Transaction<unknown>): Promise<void> => {
    await sql`insert into effects values (${job.id})`.execute(trx)
    await job.task.complete({ trx })
    ledger.note({ what: 'completing', job: job.id })
  }
  const commit = (): Promise<void> => db.transaction().execute((trx) => complete(trx as never))
  const rollBack = (): Promise<void> =>
    db.transaction().execute(async (trx) => {
      await complete(trx as never)
      throw undone
    })
  const gate = async (): Promise<void> => {
    while (!ledger.isOpen(job.id)) await new Promise((resolve) => setTimeout(resolve, 10))
  }
  switch (ending) {
    case 'commit and go on':
      await commit()
      return gate()
    case 'commit once told':
      await linger(parts, complete, true)
      return gate()
    case 'commit late':
      await gate()
      return commit().then(
        () => ledger.note({ what: 'answer', job: job.id, detail: 'committed' }),
        (error) => ledger.note({ what: 'answer', job: job.id, detail: error.code }),
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
    case 'throw':
      return rollBack()
    case 'broken':
      return db.transaction().execute(async (trx) => {
        await complete(trx as never)
        await breakCommit(db, trx as never)
      })
    case 'swallow':
      return rollBack().catch(() => undefined)
    case 'again':
      await rollBack().catch(() => undefined)
      return commit()
    case 'commit':
      return commit()
    case 'commit and throw':
      await commit()
      throw new Error('too late')
    case 'cut short':
      return db.transaction().execute(async (trx) => {
        await complete(trx as never)
        await new Promise((resolve) => job.signal.addEventListener('abort', resolve))
        job.signal.throwIfAborted()
      })
    case 'linger':
      await linger(parts, complete)
      throw new Error('not waited for its transaction')
  }
}

/** Has a commit fail: by a constraint that is looked at then, or on MySQL, which has none, by the loss of its connection. */
async function breakCommit(db: AnyDatabase, trx: Transaction<unknown>): Promise<void> {
  if (legDatabase().startsWith('postgres')) {
    await sql`insert into once values (1), (1)`.execute(trx)
    return
  }
  const { rows } = await sql<{ id: number }>`select connection_id() as id`.execute(trx)
  await sql`kill ${sql.lit(rows[0]!.id)}`.execute(db)
}

/** Completes a task in a transaction that stays open until a gate opens. Resolves when it has completed it, or committed. */
function linger(
  { db, job, ledger }: EndingParts,
  complete: (trx: Transaction<unknown>) => Promise<void>,
  waits = false,
): Promise<void> {
  return new Promise((resolve, reject) => {
    db.transaction()
      .execute(async (trx) => {
        await complete(trx as never)
        if (!waits) resolve()
        while (!ledger.isOpen(`commit ${job.id}`)) {
          if (ledger.isOpen(`roll back ${job.id}`)) throw undone
          await new Promise((resolve) => setTimeout(resolve, 10))
        }
      })
      .then(resolve, reject)
  })
}
