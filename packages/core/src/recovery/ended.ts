import { fullTaskId } from '../identity.js'
import { completedId, insertRecoveries } from '../store/history.js'
import { deleteOrphans, type OrphanRow } from '../store/orphans.js'
import type { TransactionStore } from '../store/store.js'
import type { BatchScope } from './batch.js'

/**
 * Deletes locked rows that a transaction of their holder's has ended, and writes down for it that they were; answers the
 * others, which are to be recovered.
 */
export async function endedAside(
  { owner, byProcess }: Pick<BatchScope, 'owner' | 'byProcess'>,
  store: TransactionStore,
  rows: readonly OrphanRow[],
): Promise<readonly OrphanRow[]> {
  const ended = rows.filter((row) => row.ended)
  if (ended.length === 0) return rows
  const { processId, orphanedForMs } = owner
  // Before the rows go: whoever reads uncommitted data must not see neither.
  await insertRecoveries(
    store,
    ended.map(({ nonce, id, queue }) => ({
      ...{ id: completedId(processId, nonce), taskId: fullTaskId(processId, id), queue },
      ...{ jobRef: null, newJobRef: null, fromProcess: processId, byProcess },
      ...{ cause: 'crash', crashes: 0, outcome: 'completed', orphanedForMs },
    })),
  )
  await deleteOrphans(
    store,
    processId,
    ended.map(({ nonce }) => nonce),
  )
  return rows.filter((row) => !row.ended)
}
