import type { AnyTransaction } from '@holdfast/core'
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Driver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
} from 'kysely'
import type { BossDatabase } from './boss.js'
import type { Beginning } from './delivery.js'
import { endAfterBoss } from './end-after-boss.js'
import { letGo, lostError } from './let-go.js'
import { isCutShort, outcomeOf, tellAfterEnd } from './outcome.js'
import { OwnRow } from './own-row.js'
import { writable } from './payloads.js'
import type { ProtectedBoss, Running } from './protected-boss.js'
import { rounds } from './rounds.js'
import { trackedJob } from './tracked-job.js'

/** Milliseconds for recovery to take jobs that are lost: it can't take those that pg-boss's transaction has locked. */
const WAIT = 5_000

/**
 * Runs the handler of a `transactional` worker of pg-boss 12, which commits the handler's writes and the end of the jobs
 * together: the ends of their rows go with them. After a failure, of the commit too, pg-boss rolls back and fails the
 * jobs; their rows end after that. A batch begins as a whole or not at all.
 */
export async function runInBoss<Result>(
  protectedBoss: ProtectedBoss,
  running: Running,
  handler: (jobs: readonly object[], tx: BossDatabase) => Promise<Result>,
  beginnings: readonly Promise<Beginning>[],
  tx: BossDatabase,
): Promise<Result> {
  const { value: round } = await rounds(beginnings).next()
  const begun: readonly Beginning[] = round ?? []
  const owned = begun.flatMap((beginning) =>
    beginning.kind === 'begun' ? [{ ...beginning, own: new OwnRow(protectedBoss, running, beginning) }] : [],
  )
  try {
    if (owned.length < beginnings.length) throw notTogether(begun)
    const outcome = await outcomeOf(
      () =>
        handler(
          owned.map(({ job, own }) => trackedJob(job, own.handle)),
          tx,
        ),
      owned,
    )
    const became = await Promise.all(owned.map(({ own }) => own.settle()))
    const isFailure = 'error' in outcome
    const open = owned.filter((_, index) => became[index] === 'open')
    const gone = ['lost', 'released']
    const lost = owned.flatMap(({ job }, index) => (gone.includes(became[index]!) ? [job] : []))
    for (const one of open) if (isFailure && (await isCutShort(protectedBoss, one))) lost.push(one.job)
    await letGo(protectedBoss, running, lost, WAIT)
    if (isFailure) {
      for (const [index, { job }] of owned.entries()) {
        const how = became[index]
        if (how === 'completed' || how === 'released') tellAfterEnd(protectedBoss, job, how, outcome.error)
      }
      throw writable(outcome.error)
    }
    if (lost.length > 0) throw lostError(lost)
    await transactionOf(tx, async (trx) => {
      for (const { row } of open) await row.complete({ trx })
    })
    return outcome.result as Result
  } finally {
    // Each by itself: what had to wait for the others begins too late.
    for (const beginning of beginnings)
      void beginning.then((one) => endAfterBoss(protectedBoss, running, one))
  }
}

function notTogether(beginnings: readonly Beginning[]): unknown {
  const refused = beginnings.find(({ kind }) => kind === 'refused') as { error: unknown } | undefined
  return refused?.error ?? new Error('Not all jobs of this batch can begin now, so that none of it does.')
}

/** A Kysely transaction inside one of pg-boss's. */
function transactionOf<T>(tx: BossDatabase, work: (trx: AnyTransaction) => Promise<T>): Promise<T> {
  const db = new Kysely<unknown>({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => driverOf(tx),
      createIntrospector: (db) => new PostgresIntrospector(db),
      createQueryCompiler: () => new PostgresQueryCompiler(),
    },
  })
  return db.transaction().execute(work)
}

/** Statements go to pg-boss's transaction, whose begin and end are pg-boss's. */
function driverOf(tx: BossDatabase): Driver {
  const nothing = async (): Promise<void> => undefined
  const connection: DatabaseConnection = {
    async executeQuery<Row>({ sql, parameters }: CompiledQuery) {
      const { rows } = await tx.executeSql(sql, [...parameters])
      return { rows: rows as Row[] }
    },
    streamQuery: () => {
      throw new Error('A transaction of pg-boss does not stream.')
    },
  }
  return {
    ...{ init: nothing, destroy: nothing, releaseConnection: nothing },
    ...{ beginTransaction: nothing, commitTransaction: nothing, rollbackTransaction: nothing },
    acquireConnection: async () => connection,
  }
}
