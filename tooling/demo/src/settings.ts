export const WORKERS = ['worker 1', 'worker 2', 'worker 3'] as const

/** Much shorter than the defaults, so that the demo is quick. */
export const MONITOR = {
  heartbeatInterval: 500,
  orphanThreshold: 2_000,
  sweepInterval: 500,
  // Killed in the middle of a sweep, a process leaves the sweepers' lock behind for so long.
  gcLockTtl: 2_000,
} as const

/** Milliseconds the slow server takes to answer. */
export const LATENCY = { min: 500, max: 2_500 } as const

/** How many jobs one worker holds at once. */
export const CONCURRENCY = { guard: 20, handOff: 25 } as const

export const MIN_JOBS = 10
export const MAX_JOBS = 10_000

/** How many jobs the worker must hold when it is killed: 30 of 300. */
export const minimumInFlight = (jobs: number): number => Math.min(30, Math.floor(jobs / 10))

/** Milliseconds without any new ledger row after which jobs count as lost. */
export const QUIET_LIMIT = 20_000

/** graphile-worker's own: hard-coded there. */
export const GRAPHILE_LOCK_HOURS = 4
