import type { TaskMonitorOptions } from '@holdfast/core'

/** Longer than any test, and as long as a timer can be set. */
const NEVER = 20 * 24 * 3_600_000

/** Short leases; nobody sweeps but who is told to. */
export const TIMES = {
  heartbeatInterval: 250,
  orphanThreshold: 3_000,
  sweepInterval: NEVER,
  gcLockTtl: 3_000,
} satisfies Partial<TaskMonitorOptions>
