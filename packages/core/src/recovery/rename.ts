import type { DecidedJob, Orphan } from '../adapter.js'
import { AdapterError } from '../errors.js'
import { copyCrashes, writeCrashes } from '../store/crashes.js'
import { type Claim, lockClaimed, setJobRef } from '../store/orphans.js'
import { findQuarantined, setQuarantinedJobRef } from '../store/quarantine.js'
import { inTransaction, type Store } from '../store/store.js'

/**
 * Gives a claimed orphan the identity that its job is about to have, with the crashes to its name.
 *
 * @throws AdapterError when the claim is another's by now, the row is gone, or another task has that identity
 */
export async function renameOrphan(
  store: Store,
  { processId: owner, nonce, fullId, queue, jobRef: former }: Orphan,
  claim: Claim,
  jobRef: string,
): Promise<void> {
  try {
    await inTransaction(store, async (inner) => {
      const { ours } = await lockClaimed(inner, { owner, nonces: [nonce], claim })
      if (!ours.has(nonce)) {
        throw new AdapterError(`Task ${fullId} is being recovered by another process, or runs again already.`)
      }
      await setJobRef(inner, { owner, nonce, jobRef })
      if (former !== null && former !== jobRef) await copyCrashes(inner, queue, former, jobRef)
    })
  } catch (cause) {
    if (store.dialect.errorKind(cause) !== 'duplicate') throw cause
    const message = `Task ${fullId} can't become job ${JSON.stringify(jobRef)}: another task is that job.`
    throw new AdapterError(message, { cause })
  }
}

/**
 * Gives a quarantined job the identity under which it is about to run again, with its crash count. Of two retries at
 * once only one may: the other would run the job a second time.
 *
 * @throws AdapterError when the entry is gone, or another retry has given it an identity
 */
export async function renameQuarantined(
  store: Store,
  id: string,
  { jobRef: former, orphan: { queue }, crashes }: DecidedJob,
  jobRef: string,
): Promise<void> {
  await inTransaction(store, async (inner) => {
    const entry = await findQuarantined(inner, id, true)
    if (entry === undefined || entry.jobRef !== former) {
      throw new AdapterError(`Quarantined job ${JSON.stringify(id)} was retried or discarded meanwhile.`)
    }
    await setQuarantinedJobRef(inner, id, jobRef)
    if (crashes > 0) await writeCrashes(inner, queue, new Map([[jobRef, crashes]]))
  })
}
