/**
 * Short times for tests. The lease is longer than a busy machine may stand still, so that none of it is taken for the
 * death of a monitor that is to live.
 */
export const fast = {
  heartbeatInterval: 200,
  orphanThreshold: 5_000,
  sweepInterval: 200,
  gcLockTtl: 5_000,
  logger: { warn: () => undefined, error: () => undefined },
} as const

/** For a process that is to die, or to be taken for dead: it is found within about 1.5 s. */
export const mortal = { ...fast, orphanThreshold: 1_000 } as const
