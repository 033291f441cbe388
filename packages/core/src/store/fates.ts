import { sql } from 'kysely'
import { recoveredTasks } from './history.js'
import type { NewTask } from './new-tasks.js'
import { inTransaction, type Store, type TransactionStore, valuesList } from './store.js'

/**
 * What became of a transaction that a task was ended in. `open`: nobody knows yet. `committed`: its row is gone, and nobody
 * but that transaction has taken it away. `lost`: another has, or is about to.
 */
export type Fate = 'open' | 'committed' | 'rolled-back' | 'lost'

type EndedTask = Pick<NewTask, 'id' | 'queue' | 'jobRef'>

/**
 * Learns what became of transactions that tasks of a process were ended in, by task id. That a row is gone says only that
 * it was deleted: so the same statement sees whether its process is alive, so that nobody may have recovered it, and
 * whether another has taken the job over. Of a process that is not alive the history knows what was recovered. Read
 * committed, whatever the default: a dirty read would take an open transaction for a committed one.
 */
export function fatesOf(
  store: Store,
  processId: string,
  tasks: readonly EndedTask[],
): Promise<ReadonlyMap<string, Fate>> {
  return inTransaction(store, async (inner) => {
    const { alive, claims, heldJobs } = await whereTasksAre(inner, processId, tasks)
    const free = await freeTasks(inner, processId, [...claims.keys()])
    const gone = tasks.filter(({ id }) => !claims.has(id)).map(({ id }) => id)
    const recovered = alive ? new Set() : await recoveredTasks(inner, processId, gone)
    const fate = ({ id, queue, jobRef }: EndedTask): Fate => {
      if (!claims.has(id)) {
        const isOthers = recovered.has(id) || heldJobs.has(JSON.stringify([queue, jobRef]))
        return isOthers ? 'lost' : 'committed'
      }
      if (claims.get(id) !== null) return 'lost'
      return free.has(id) ? 'rolled-back' : 'open'
    }
    return new Map(tasks.map((task) => [task.id, fate(task)]))
  })
}

/** Tasks of a process that are there with their claims, whether it is alive, and which of their jobs have a row. */
async function whereTasksAre(
  { db, tables }: TransactionStore,
  processId: string,
  tasks: readonly EndedTask[],
) {
  const jobs = tasks.filter(({ jobRef }) => jobRef !== null).map(({ queue, jobRef }) => [queue, jobRef])
  const held =
    jobs.length === 0
      ? sql``
      : sql`union all select 'job', queue, job_ref from ${tables.tasks}
        where (queue, job_ref) in (${valuesList(jobs)})`
  const { rows } = await sql<{ kind: 'task' | 'process' | 'job'; a: string; b: string | null }>`
    select 'task' as kind, id as a, claim_token as b from ${tables.tasks}
      where process_id = ${processId} and id in (${sql.join(tasks.map(({ id }) => id))})
    union all select 'process', process_id, state from ${tables.processes}
      where process_id = ${processId} and state = 'alive' ${held}`.execute(db)
  const of = (wanted: string) => rows.filter(({ kind }) => kind === wanted)
  return {
    alive: of('process').length > 0,
    claims: new Map(of('task').map(({ a, b }) => [a, b])),
    heldJobs: new Set(of('job').map(({ a, b }) => JSON.stringify([a, b]))),
  }
}

/** Those of these rows that nobody has locked. */
async function freeTasks(
  { db, tables }: TransactionStore,
  processId: string,
  ids: readonly string[],
): Promise<ReadonlySet<string>> {
  if (ids.length === 0) return new Set()
  const { rows } = await sql<{ id: string }>`
    select id from ${tables.tasks} where process_id = ${processId} and id in (${sql.join(ids)})
    order by process_id, id for update skip locked`.execute(db)
  return new Set(rows.map(({ id }) => id))
}
