import { sql } from 'kysely'
import { completedTasks } from './history.js'
import { chunks, inTransaction, type Store, type TransactionStore } from './store.js'

/**
 * What became of a transaction that a task was ended in: see `markEnded`. `lost`: others have the task, or have had it.
 */
export type Fate = 'open' | 'committed' | 'rolled-back' | 'lost'

/**
 * Learns what became of transactions that tasks of a process were ended in, by nonce. A row that nobody has locked says it
 * itself. One that is gone was recovered or taken over after a rollback, unless the history knows that its recovery found
 * it ended. What is locked is open still.
 */
export async function fatesOf(
  store: Store,
  processId: string,
  nonces: readonly number[],
): Promise<ReadonlyMap<number, Fate>> {
  const fates = new Map<number, Fate>()
  for (const some of chunks(nonces)) {
    for (const [nonce, fate] of await freeTasks(store, processId, some)) fates.set(nonce, fate)
  }
  const left = nonces.filter((nonce) => !fates.has(nonce))
  if (left.length > 0) {
    // Read committed, whatever the default: what a recovery has not committed is not gone.
    await inTransaction(store, async (inner) => {
      for (const [nonce, fate] of await lockedTasks(inner, processId, left)) fates.set(nonce, fate)
      const gone = left.filter((nonce) => !fates.has(nonce))
      const completed = await completedTasks(inner, processId, gone)
      for (const nonce of gone) fates.set(nonce, completed.has(nonce) ? 'committed' : 'lost')
    })
  }
  return fates
}

interface Mark {
  readonly nonce: number | string
  readonly ended: number | null
  readonly token: string | null
}

/** What a row says of itself; `unmarked` when it says nothing. */
function fateOf({ nonce, ended, token }: Mark, unmarked: Fate): [number, Fate] {
  if (ended !== null) return [Number(nonce), 'committed']
  return [Number(nonce), token === null ? unmarked : 'lost']
}

/** Those of these rows that nobody has locked. A lone statement: it reads what is committed at any isolation. */
async function freeTasks(
  { db, tables }: Store,
  processId: string,
  nonces: readonly number[],
): Promise<[number, Fate][]> {
  const { rows } = await sql<Mark>`
    select nonce, ended, claim_token as token from ${tables.tasks}
    where process_id = ${processId} and nonce in (${sql.join(nonces)})
    order by process_id, nonce for update skip locked`.execute(db)
  return rows.map((row) => fateOf(row, 'rolled-back'))
}

/** Those that somebody has, by what is committed of them: a transaction may lock a row that another has ended. */
async function lockedTasks(
  { db, tables }: TransactionStore,
  processId: string,
  nonces: readonly number[],
): Promise<[number, Fate][]> {
  const fates: [number, Fate][] = []
  for (const some of chunks(nonces)) {
    const { rows } = await sql<Mark>`
      select nonce, ended, claim_token as token from ${tables.tasks}
      where process_id = ${processId} and nonce in (${sql.join(some)})`.execute(db)
    fates.push(...rows.map((row) => fateOf(row, 'open')))
  }
  return fates
}
