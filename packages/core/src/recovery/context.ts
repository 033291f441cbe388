import type { Transaction } from 'kysely'
import type { QueueAdapter, RecoveryContext } from '../adapter.js'
import { AdapterError } from '../errors.js'
import type { Logger } from '../logger.js'
import { inTransaction, type Store } from '../store/store.js'
import { type Claim, registeredJobs } from '../store/tasks.js'
import { renameOrphan } from './rename.js'

interface ContextParts {
  readonly store: Store
  readonly adapter: QueueAdapter
  readonly logger: Logger
  readonly signal: AbortSignal
  /** Of a recovery in two phases. */
  readonly claim?: Claim
}

/** What an adapter is given to recover with. */
export function contextOf(
  { store, adapter, logger, signal, claim }: ContextParts,
  trx: Transaction<unknown> | undefined,
): RecoveryContext {
  return {
    get trx(): Transaction<unknown> {
      if (trx !== undefined) return trx
      throw new AdapterError(
        `Adapter ${JSON.stringify(adapter.name)} declares atomicRecovery: false, so it has no transaction to join.`,
      )
    },
    logger,
    signal,
    registered: (refs) => registeredJobs(store, adapter.name, refs),
    async rename(orphan, jobRef) {
      if (claim !== undefined)
        await inTransaction(store, (inner) => renameOrphan(inner, orphan, claim, jobRef))
    },
  }
}
