import { type AnyTransaction, type TaskHandle, TaskLostError } from '@holdfast/core'
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
import type { Beginning, Delivery } from './delivery.js'
import { trackedJob } from './tracked-job.js'

/**
 * Runs the handler of a `transactional` worker of pg-boss 12, which commits the handler's writes and the end of the jobs
 * together: the ends of their rows go with them. After a failure pg-boss rolls back, and fails the jobs.
 *
 * @param size of the batch, which begins in one or not at all
 */
export async function runInBoss<Result>(
  handler: (jobs: readonly object[], tx: BossDatabase) => Promise<Result>,
  beginnings: readonly Beginning[],
  size: number,
  tx: BossDatabase,
): Promise<Result> {
  const deliveries = beginnings.filter(({ kind }) => kind === 'begun') as Delivery[]
  try {
    if (deliveries.length < size) throw notTogether(beginnings)
    const result = await handler(
      deliveries.map(({ job, row }) => trackedJob(job, row)),
      tx,
    )
    await transactionOf(tx, async (trx) => {
      for (const { row } of deliveries) await row.complete({ trx })
    })
    return result
  } catch (error) {
    await Promise.all(deliveries.map(({ row }) => end(row)))
    throw error
  }
}

function notTogether(beginnings: readonly Beginning[]): unknown {
  const refused = beginnings.find(({ kind }) => kind === 'refused') as { error: unknown } | undefined
  return refused?.error ?? new Error('Not all jobs of this batch can begin now, so that none of it does.')
}

/** The row of a job that pg-boss is about to fail; when it is lost it is another's, and pg-boss finds that out too. */
async function end(row: TaskHandle): Promise<void> {
  try {
    await row.complete()
  } catch (error) {
    if (!TaskLostError.is(error)) throw error
  }
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
