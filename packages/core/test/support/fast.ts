/** Short times for tests: a dead process is found within about 1.5 s. */
export const fast = {
  heartbeatInterval: 200,
  orphanThreshold: 1_000,
  sweepInterval: 200,
  gcLockTtl: 5_000,
  logger: { warn: () => undefined, error: () => undefined },
} as const
