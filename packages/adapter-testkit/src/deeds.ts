// What a handler does to its own task: the side of a worker's process.
import type { AnyDatabase, Ledger } from '@holdfast/chaos'
import { HoldfastError, type TaskHandle } from '@holdfast/core'
import { sql, type Transaction } from 'kysely'
import type { Deed, Work } from './setup.js'

/** What the handlers of a process share. */
export interface HandlerParts {
  readonly ledger: Ledger
  /** Connections of their own. */
  readonly db: AnyDatabase
  /** Of the database. */
  readonly url: string
  /** Transactions that outlive the handlers that began them. */
  readonly leftOpen: Promise<unknown>[]
}

interface DeedParts extends HandlerParts {
  readonly work: Work
  readonly task: TaskHandle
}

type Act = (trx: Transaction<unknown>) => Promise<void>

const UNDONE = new Error('rolled back')

/** Does it; throws what the handler is to throw. */
export async function doDeed(deed: Deed, parts: DeedParts): Promise<void> {
  const { work, task, db, ledger } = parts
  const note = (what: string, detail?: unknown): void => ledger.note({ what, job: work.key, detail })
  /** An effect and the end of the task in one transaction, and what else happens in it. */
  const complete = (act?: Act): Promise<void> =>
    db.transaction().execute(async (trx: Transaction<unknown>) => {
      await sql`insert into effects (job) values (${work.key})`.execute(trx)
      await task.complete({ trx })
      await act?.(trx)
    })
  const rollBack = (): Promise<void> =>
    complete(async () => {
      throw UNDONE
    })
  /** An end that is one too many: notes how it was refused. */
  const again = async (end: () => Promise<void>): Promise<void> =>
    note(
      'again',
      await end().then(
        () => 'accepted',
        (error) => (HoldfastError.is(error) ? error.code : String(error)),
      ),
    )

  switch (deed) {
    case 'rolls back':
      return rollBack()
    case 'rolls back, unnoticed':
      return rollBack().catch(() => undefined)
    case 'fails to commit':
      return complete((trx) => endSession(parts, trx))
    case 'leaves open':
      return leaveOpen(parts, complete)
    case 'leaves open, then throws':
      await leaveOpen(parts, complete)
      throw new Error('left its transaction open')
    case 'commits, then throws':
      await complete()
      throw new Error(`threw after its commit: ${work.key}`)
    case 'commits, then stands still':
      await complete()
      note('committed')
      return new Promise(() => undefined)
    case 'completes twice':
      await task.complete()
      return again(() => task.complete())
    case 'completes twice in a transaction':
      return complete((trx) => again(() => task.complete({ trx })))
    case 'releases':
      return task.release()
    case 'releases, then throws':
      await task.release()
      throw new Error('threw after its release')
    case 'releases, then completes':
      await task.release()
      return again(() => task.complete())
  }
}

/** Has the commit that follows fail, on any database: its session is gone. */
async function endSession({ url, db }: DeedParts, trx: Transaction<unknown>): Promise<void> {
  const mySql = url.startsWith('mysql:')
  const self = mySql ? sql`connection_id()` : sql`pg_backend_pid()`
  const { rows } = await sql<{ id: number }>`select ${self} as id`.execute(trx)
  const id = sql.lit(rows[0]!.id)
  await (mySql ? sql`kill ${id}` : sql`select pg_terminate_backend(${id})`).execute(db)
}

/** Resolves when the task is completed in a transaction, which stays open until its job's gate says how it ends. */
function leaveOpen(
  { work: { key }, ledger, leftOpen }: DeedParts,
  complete: (act: Act) => Promise<void>,
): Promise<void> {
  return new Promise((completed, failed) => {
    const transaction = complete(async () => {
      completed()
      while (!ledger.isOpen(`commit ${key}`)) {
        if (ledger.isOpen(`roll back ${key}`)) throw UNDONE
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    })
    leftOpen.push(transaction.catch(failed))
  })
}
