import type { DecidedJob, QueueAdapter } from '../adapter.js'
import { writeCrashes } from '../store/crashes.js'
import { inTransaction } from '../store/store.js'
import { type Claim, markCounted, type OrphanRow } from '../store/tasks.js'
import type { BatchScope } from './batch.js'
import { isCrash } from './decide.js'

/** Where recovery is one transaction the count is part of it. */
export const countsBefore = ({ capabilities }: QueueAdapter): boolean => !capabilities.atomicRecovery

/**
 * Counts the crashes of claimed jobs before they are made runnable: from then on a job may run at once, register, and
 * so replace the row by which its crash would be counted. Answers the rows as they are then.
 */
export async function countCrashes(
  { adapter, owner, store }: BatchScope,
  claim: Claim,
  rows: readonly OrphanRow[],
  jobs: readonly DecidedJob[],
): Promise<readonly OrphanRow[]> {
  if (!countsBefore(adapter)) return rows
  const uncounted = new Set(rows.filter(({ crashes }) => crashes === null).map(({ id }) => id))
  const crashed = jobs.filter(
    (job) => isCrash(job) && job.jobRef !== null && uncounted.has(job.orphan.taskId),
  )
  if (crashed.length === 0) return rows
  // Of the row of several jobs it says the count of its last, and above all that theirs are counted.
  const countOf = new Map(crashed.map(({ orphan, crashes }) => [orphan.taskId, crashes]))
  await inTransaction(store, async (inner) => {
    for (const crashes of new Set(countOf.values())) {
      const ids = [...countOf.keys()].filter((id) => countOf.get(id) === crashes)
      await markCounted(inner, { owner: owner.processId, ids, claim, crashes })
    }
    await writeCrashes(inner, adapter.name, new Map(crashed.map(({ jobRef, crashes }) => [jobRef!, crashes])))
  })
  return rows.map((row) => ({ ...row, crashes: countOf.get(row.id) ?? row.crashes }))
}
