import type { JobOutcome } from '@holdfast/core'
import { insertJobs, type JobState, jobColumns, lockQueues, type NewRow, removeJobs } from '../job-sql.js'
import type { Attempt } from '../payloads.js'
import type { Run } from '../run.js'
import type { BossSchema } from '../start.js'
import type { BossTables } from '../tables.js'
import type { Plan, PutBack } from './plan.js'

export interface PutBackParts {
  readonly tables: BossTables
  readonly schema: Pick<BossSchema, 'archives'>
}

/** A job and what is to be done about it. */
export interface Planned extends Pick<Attempt, 'name' | 'id'> {
  readonly plan: Plan
}

interface Item extends Planned {
  readonly plan: Plan & PutBack
}

/** Another outcome than planned, by key. */
type Refused = Map<string, JobOutcome>

export const keyOf = ({ name, id }: Pick<Attempt, 'name' | 'id'>): string => `${id} ${name}`

/** What `output` says of a job whose place another has. */
const TAKEN =
  'Not put back after its worker ended: another job has its place in the queue by the policy of that.'

/**
 * Puts jobs back, replacing what is left of them as pg-boss's own failures do. A job whose place another has by the policy
 * of its queue waits as if it were new, or else stands failed: nothing of it is ever lost silently.
 *
 * @returns what came otherwise than planned
 */
export async function putBack(
  run: Run,
  { tables, schema }: PutBackParts,
  planned: readonly Planned[],
): Promise<Refused> {
  const refused: Refused = new Map()
  const wanted = planned.filter((item): item is Item => item.plan.kind !== 'nothing')
  if (wanted.length === 0) return refused
  const queues = await lockQueues(run, tables, wanted.flatMap(queuesOf))
  const items = wanted.filter((item) => {
    const { name, id } = item
    if (queues.has(name)) return true
    const error = new Error(`Queue ${JSON.stringify(name)} is gone: create it again, and job ${id} goes on.`)
    refused.set(keyOf(item), { kind: 'failed', error })
    return false
  })
  const columns = await jobColumns(run, tables)
  await removeJobs(run, tables, items, { archived: schema.archives })
  let left = items.map((item) => ({ ...item, row: rowOf(item, queues) }))
  for (const state of ['retry', 'created', 'failed'] as const) {
    const added = await insertAll(run, tables, columns, state, left)
    if (state === 'failed') {
      for (const item of left) refused.set(keyOf(item), { kind: 'superseded' })
    }
    left = left.filter((item) => !added.has(keyOf(item)))
    if (left.length === 0) return refused
  }
  throw new Error(`pg-boss has room for these in no state: ${left.map(keyOf).join(', ')}.`)
}

const deadLetterOf = ({ plan }: Item): string | null => JSON.parse(plan.job).dead_letter ?? null

const queuesOf = (item: Item): string[] => {
  const deadLetter = deadLetterOf(item)
  return deadLetter === null ? [item.name] : [item.name, deadLetter]
}

function rowOf(item: Item, queues: ReadonlySet<string>): NewRow {
  const { job, anew, delayMs, retryLimit, output } = item.plan
  const deadLetter = deadLetterOf(item)
  const changes = {
    retry_limit: retryLimit,
    ...(output === undefined ? {} : { output }),
    // It has had its turn in that slot.
    ...(anew ? { singleton_on: null } : {}),
    ...(deadLetter !== null && !queues.has(deadLetter) ? { dead_letter: null } : {}),
  }
  return { job, delayMs, changes: JSON.stringify(changes) }
}

/** One statement for all rows with the same columns: a snapshot may be from before pg-boss's schema was changed. */
async function insertAll(
  run: Run,
  tables: BossTables,
  columns: ReadonlySet<string>,
  state: JobState,
  items: readonly { readonly row: NewRow }[],
): Promise<ReadonlySet<string>> {
  const groups = new Map<string, { columns: string[]; rows: NewRow[] }>()
  for (const { row } of items) {
    const own = Object.keys(JSON.parse(row.job)).filter((column) => columns.has(column))
    const key = own.join()
    const group = groups.get(key) ?? { columns: own, rows: [] }
    const changes =
      state === 'failed' ? { ...JSON.parse(row.changes), output: { message: TAKEN } } : undefined
    group.rows.push(changes === undefined ? row : { ...row, changes: JSON.stringify(changes) })
    groups.set(key, group)
  }
  const added = new Set<string>()
  for (const group of groups.values()) {
    const keys = await insertJobs(run, tables, group.columns, state, group.rows)
    for (const key of keys) added.add(keyOf(key))
  }
  return added
}
