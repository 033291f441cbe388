// A process that is killed in the middle of migrate(): right after its `statements`th statement.
import { childOptions, connect } from '@holdfast/chaos'
import type { QueryExecutor } from 'kysely'
import { migrate, type StoreOptions } from '../../src/index.js'

export interface KilledMigrationOptions {
  readonly url: string
  readonly place: StoreOptions
  readonly statements: number
}

const { url, place, statements }: KilledMigrationOptions = childOptions()
const db = connect(url, 1)

let done = 0
const executors: QueryExecutor = Object.getPrototypeOf(Object.getPrototypeOf(db.getExecutor()))
const { executeQuery } = executors
executors.executeQuery = async function (this: QueryExecutor, ...args: Parameters<typeof executeQuery>) {
  const result = await executeQuery.apply(this, args)
  done += 1
  if (done === statements) process.kill(process.pid, 'SIGKILL')
  return result
} as typeof executeQuery

await migrate(db, place)
process.send?.({ type: 'survived', done })
await db.destroy()
process.disconnect()
