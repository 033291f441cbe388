import type { Transaction } from 'kysely'
import type { Orphan, QueueAdapter, RecoveryContext } from '../adapter.js'
import { AdapterError } from '../errors.js'
import type { Logger } from '../logger.js'
import { registeredJobs, remainingTasks } from '../store/orphans.js'
import type { Store } from '../store/store.js'
import { checkJobRef } from './check-outcomes.js'

interface ContextParts {
  readonly store: Store
  readonly adapter: QueueAdapter
  readonly logger: Logger
  readonly signal: AbortSignal
  /** Where recovery is no transaction. */
  readonly rename?: (orphan: Orphan, jobRef: string) => Promise<void>
}

/** What an adapter is given to recover with. */
export function contextOf(
  { store, adapter, logger, signal, rename }: ContextParts,
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
    remaining: (orphans) => remainingTasks(store, orphans),
    async rename(orphan, jobRef) {
      checkJobRef(adapter, jobRef)
      await rename?.(orphan, jobRef)
    },
  }
}
