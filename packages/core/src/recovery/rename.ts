import type { Orphan } from '../adapter.js'
import { AdapterError } from '../errors.js'
import { copyCrashes } from '../store/crashes.js'
import type { TransactionStore } from '../store/store.js'
import { type Claim, setJobRef } from '../store/tasks.js'

/** Gives a claimed orphan the identity that its job is about to have, with the crashes to its name. */
export async function renameOrphan(
  store: TransactionStore,
  { processId, taskId, fullId, queue, jobRef: former }: Orphan,
  claim: Claim,
  jobRef: string,
): Promise<void> {
  if (!(await setJobRef(store, { owner: processId, id: taskId, claim, jobRef }))) {
    throw new AdapterError(`Task ${fullId} is being recovered by another process, or runs again already.`)
  }
  if (former !== null) await copyCrashes(store, queue, former, jobRef)
}
