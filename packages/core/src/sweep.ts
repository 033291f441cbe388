import type { QueueAdapter } from './adapter.js'
import type { Events } from './events.js'
import type { Incarnation } from './incarnation.js'
import type { Logger } from './logger.js'
import type { MonitorConfig } from './options.js'
import {
  addCounts,
  noCounts,
  type RecoverOptions,
  type Recovery,
  type RecoveryCounts,
} from './recovery/recovery.js'
import { countOtherQueues, type OrphanOwner, orphanOwners } from './store/orphans.js'
import { deleteEmptyProcesses, fenceExpired } from './store/processes.js'
import type { Store } from './store/store.js'

export interface SweepParts {
  readonly store: Store
  readonly config: MonitorConfig
  readonly events: Events
  readonly logger: Logger
  readonly recovery: Recovery
  /** Every queue this process has an adapter for. */
  readonly queues: readonly string[]
}

export interface SweepCounts extends RecoveryCounts {
  /** Processes found dead and fenced. */
  readonly fenced: readonly string[]
}

export interface SweepLimits extends Omit<RecoverOptions, 'adapter'> {
  readonly adapters: readonly QueueAdapter[]
  /** Milliseconds since their last heartbeat that the others have at least, whatever their own lease. */
  readonly patience?: number
}

/** One pass: fences dead processes, recovers the orphans of the adapters' queues, forgets who owns nothing more. */
export async function sweep(
  parts: SweepParts,
  { processId, lease }: Incarnation,
  { adapters, patience = 0, ...options }: SweepLimits,
): Promise<SweepCounts> {
  const { store, config, events, recovery, queues } = parts
  const { heartbeatInterval } = config
  const judge = {
    processId,
    heartbeatInterval,
    gapFreeMs: lease.gapFreeFor(),
    beatAgeMs: lease.age(),
    patience,
  }
  const mayJudge = (threshold: number): boolean => lease.confirmed && lease.gapFreeFor() >= threshold
  const fenced = lease.confirmed ? await fenceExpired(store, judge, mayJudge) : []
  let counts = noCounts
  for (const owner of await orphanOwners(store)) {
    let ofOwner = noCounts
    for (const adapter of adapters) {
      try {
        ofOwner = addCounts(ofOwner, await recovery.recoverOwner(owner, { ...options, adapter }))
      } catch (error) {
        // One owner's trouble must not keep the others from being recovered.
        events.fail(`could not recover the tasks of ${owner.processId}; the next sweep tries again`, error)
      }
    }
    counts = addCounts(counts, ofOwner)
    log(parts.logger, owner, ofOwner)
    if (options.signal?.aborted || (await options.before?.()) === 0) break
    for (const other of await countOtherQueues(store, owner.processId, queues)) {
      events.emit('unknownQueue', other)
    }
  }
  await deleteEmptyProcesses(store)
  return { fenced, ...counts }
}

function log(
  logger: Logger,
  { processId, state }: OrphanOwner,
  { recovered, quarantined, failed }: RecoveryCounts,
): void {
  if (recovered + quarantined + failed === 0) return
  logger.warn(
    `process ${processId} ${state === null ? 'is gone' : `is ${state}`}: ` +
      `${recovered} jobs recovered, ${quarantined} quarantined, ${failed} failed and kept`,
  )
}
