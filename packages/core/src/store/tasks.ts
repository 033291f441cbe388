import { type RawBuilder, sql } from 'kysely'
import { chunks, inTransaction, retryTransient, type Store, type TransactionStore } from './store.js'

/** No recovery has it, or has had it. */
const UNCLAIMED = sql`claim_token is null`

/**
 * Makes certain what became of INSERTs without an answer: raises the epoch of their process, so that one that comes later
 * is refused, and deletes the rows of those that came through. False where nobody can know yet: one is under way in the
 * server still, so that it holds the process row; somebody has locked such a row; or the process is not alive.
 */
export function settleInserts(
  store: Store,
  { processId, epoch, nonces }: { processId: string; epoch: number; nonces: readonly number[] },
): Promise<boolean> {
  return inTransaction(store, async (inner) => {
    const { db, tables } = inner
    // Locked for update first, on Postgres too: a mere update would pass an INSERT that holds the row.
    const { rows } = await sql`
      select process_id from ${tables.processes}
      where process_id = ${processId} and state = 'alive' for update skip locked`.execute(db)
    if (rows.length === 0) return false
    await sql`
      update ${tables.processes} set epoch = ${epoch} where process_id = ${processId} and epoch < ${epoch}`.execute(
      db,
    )
    let isCertain = true
    for (const some of chunks(nonces)) {
      const left = await deleteFree(inner, processId, some, UNCLAIMED)
      if (left.size > 0) isCertain = false
    }
    return isCertain
  })
}

/** Where these rows of a process are. */
const rowsOf = (processId: string, nonces: readonly number[], condition: RawBuilder<unknown>) =>
  sql`where process_id = ${processId} and nonce in (${sql.join(nonces)}) and ${condition}`

/** The nonces of rows, of which those that somebody has locked may be passed over. */
async function noncesOf(
  { db, tables }: Store,
  where: RawBuilder<unknown>,
  onlyFree: boolean,
): Promise<readonly number[]> {
  const lock = onlyFree ? sql`order by process_id, nonce for update skip locked` : sql``
  const { rows } = await sql<{ nonce: number | string }>`
    select nonce from ${tables.tasks} ${where} ${lock}`.execute(db)
  return rows.map(({ nonce }) => Number(nonce))
}

/**
 * Deletes those of these rows that nobody has locked, and answers which are left: who holds its process's row, or is waited
 * for by a transaction that holds them, waits for no row.
 */
async function deleteFree(
  store: Store,
  processId: string,
  nonces: readonly number[],
  condition: RawBuilder<unknown>,
): Promise<ReadonlySet<number>> {
  const free = await noncesOf(store, rowsOf(processId, nonces, condition), true)
  if (free.length > 0) {
    await sql`delete from ${store.tables.tasks} ${rowsOf(processId, free, condition)}`.execute(store.db)
  }
  if (free.length === nonces.length) return new Set()
  return new Set(await noncesOf(store, rowsOf(processId, nonces, condition), false))
}

/** Ends tasks of a process. Answers which were still its own: the others are lost to it. */
export async function deleteTasks(
  store: Store,
  processId: string,
  nonces: readonly number[],
): Promise<ReadonlySet<number>> {
  if (nonces.length !== 1) return inTransaction(store, (inner) => deleteLocked(inner, processId, nonces))
  const [nonce] = nonces
  const statement = sql`
    delete from ${store.tables.tasks}
    where process_id = ${processId} and nonce = ${nonce} and claim_token is null`
  const deleted = await retryTransient(store, () => store.dialect.writesOne(store.db, statement))
  return new Set(deleted ? nonces : [])
}

/** Locks in primary-key order first, so that two batches can't wait for each other. */
async function deleteLocked(
  { db, tables }: Store,
  processId: string,
  nonces: readonly number[],
): Promise<ReadonlySet<number>> {
  const { rows } = await sql<{ nonce: number | string }>`
    select nonce from ${tables.tasks}
    where process_id = ${processId} and nonce in (${sql.join(nonces)}) and claim_token is null
    order by process_id, nonce for update`.execute(db)
  const found = rows.map(({ nonce }) => Number(nonce))
  if (found.length > 0) {
    await sql`
      delete from ${tables.tasks} where process_id = ${processId} and nonce in (${sql.join(found)})`.execute(
      db,
    )
  }
  return new Set(found)
}

/**
 * Ends a task in the caller's transaction: the row stays and says so, so that it tells committed from rolled back whatever
 * happens since, and its job is free for another. False where this transaction sees no such row, or an ended one, or is over.
 */
export const markEnded = (
  store: TransactionStore,
  processId: string,
  nonce: number,
  mark: number,
): Promise<boolean> => store.dialect.markEnded(store, processId, nonce, mark)

/**
 * Deletes rows that say that they are ended, but for those that somebody has locked: a transaction that was refused such a
 * row may hold it, and wait for us. Answers which are left.
 */
export function removeEnded(
  store: Store,
  processId: string,
  nonces: readonly number[],
): Promise<ReadonlySet<number>> {
  return inTransaction(store, (inner) => deleteFree(inner, processId, nonces, sql`ended is not null`))
}

/**
 * Notes that tasks of a process have made progress. Answers which are still its own. Those that somebody has locked, as a
 * transaction that ends them, are left as they are.
 */
export async function touchTasks(
  store: Store,
  processId: string,
  nonces: readonly number[],
): Promise<ReadonlySet<number>> {
  const mine = new Set<number>()
  for (const some of chunks(nonces)) {
    await inTransaction(store, async (inner) => {
      const { db, dialect, tables } = inner
      const free = await noncesOf(inner, rowsOf(processId, some, UNCLAIMED), true)
      if (free.length > 0) {
        const these = rowsOf(processId, free, UNCLAIMED)
        await sql`update ${tables.tasks} set progress_at = ${dialect.now} ${these}`.execute(db)
      }
      for (const nonce of await noncesOf(inner, rowsOf(processId, some, UNCLAIMED), false)) mine.add(nonce)
    })
  }
  return mine
}

/** Whether a task is in flight in this process, by its nonce or, given a text, its id. */
export async function hasTask(
  { db, tables }: Store,
  processId: string,
  task: number | string,
): Promise<boolean> {
  const { rows } = await sql`
    select 1 as found from ${tables.tasks}
    where process_id = ${processId} and ${sql.id(typeof task === 'number' ? 'nonce' : 'id')} = ${task}
      and claim_token is null and ended is null`.execute(db)
  return rows.length > 0
}

export const GIVEN_BACK = { release: 'released:', overdue: 'overdue:' } as const

/** How a process gives a task back. */
export type GivenBackCause = keyof typeof GIVEN_BACK

/**
 * The owner of tasks that their process gave back alive. No process has this id, so they are orphans at once; a real
 * process id has exactly two colons, so the two kinds can't be confused.
 */
export const givenBackOwner = (processId: string, cause: GivenBackCause): string =>
  `${GIVEN_BACK[cause]}${processId}`

/** Gives one task back, with a new payload where one is given. False when it was no longer this process's. */
export function giveBackTask(
  store: Store,
  processId: string,
  nonce: number,
  cause: GivenBackCause,
  payload?: string,
): Promise<boolean> {
  const { db, dialect, tables } = store
  const statement = sql`
    update ${tables.tasks}
    set process_id = ${givenBackOwner(processId, cause)}${payload === undefined ? sql`` : sql`, payload = ${payload}`}
    where process_id = ${processId} and nonce = ${nonce} and claim_token is null`
  return retryTransient(store, () => dialect.writesOne(db, statement))
}

/** Tasks in flight, by queue. */
export async function countTasks({ db, tables }: Store): Promise<{ queue: string; tasks: number }[]> {
  const { rows } = await sql<{ queue: string; tasks: number | string }>`
    select queue, count(*) as tasks from ${tables.tasks} where ended is null group by queue order by queue`.execute(
    db,
  )
  return rows.map(({ queue, tasks }) => ({ queue, tasks: Number(tasks) }))
}
