import type { QueueAdapter } from './adapter.js'
import { show } from './check-options.js'
import { ConfigError } from './errors.js'
import type { Incarnation } from './incarnation.js'
import { type SweepCounts, type SweepParts, sweep } from './sweep.js'

export interface CleanupOptions {
  /**
   * Milliseconds since its last heartbeat that a process has at least before it counts as dead. Never less than its own
   * lease. @default each process's own `orphanThreshold`
   */
  readonly orphanThreshold?: number
  /** Ends the clean-up after the batch under way. */
  readonly signal?: AbortSignal
}

/** A sweep by hand. @throws ConfigError */
export async function cleanup(
  parts: SweepParts,
  incarnation: Incarnation,
  adapters: readonly QueueAdapter[],
  { orphanThreshold, signal }: CleanupOptions,
): Promise<SweepCounts> {
  if (orphanThreshold !== undefined && !(orphanThreshold > 0)) {
    throw new ConfigError(
      `orphanThreshold must be a positive number of milliseconds: ${show(orphanThreshold)}.`,
    )
  }
  return sweep(parts, incarnation, {
    adapters,
    ...(orphanThreshold === undefined ? {} : { patience: orphanThreshold }),
    ...(signal === undefined ? {} : { signal }),
  })
}
