import type { DecidedJob } from '../adapter.js'
import { writeCrashes } from '../store/crashes.js'
import { type Claim, lockClaimed, markCounted } from '../store/orphans.js'
import { inTransaction } from '../store/store.js'
import type { BatchScope } from './batch.js'

/**
 * Counts the crashes of claimed jobs before they are made runnable: from then on a job may run at once, register, and
 * so replace the row by which its crash would be counted. Answers which it counted: those whose claim was taken over
 * are the other's to count.
 */
export async function countCrashes(
  { adapter, owner, store }: BatchScope,
  claim: Claim,
  jobs: readonly DecidedJob[],
): Promise<readonly DecidedJob[]> {
  if (jobs.length === 0) return []
  return inTransaction(store, async (inner) => {
    const nonces = [...new Set(jobs.map(({ orphan }) => orphan.nonce))]
    const { ours } = await lockClaimed(inner, { owner: owner.processId, nonces, claim })
    const counted = jobs.filter(({ orphan }) => ours.has(orphan.nonce))
    const marks = [...marksOf(counted)]
    for (const crashes of new Set(marks.map(([, mark]) => mark))) {
      const same = marks.filter(([, mark]) => mark === crashes).map(([nonce]) => nonce)
      await markCounted(inner, { owner: owner.processId, nonces: same, claim, crashes })
    }
    await writeCrashes(inner, adapter.name, new Map(counted.map(({ jobRef, crashes }) => [jobRef!, crashes])))
    return counted
  })
}

/** What rows say once these are counted. Of several jobs it is the count of the last, and that theirs are counted. */
export const marksOf = (counted: readonly DecidedJob[]): Map<number, number> =>
  new Map(counted.map(({ orphan, crashes }) => [orphan.nonce, crashes]))
