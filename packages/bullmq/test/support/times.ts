/** Short times for tests. */
export const TIMES = {
  heartbeatInterval: 200,
  orphanThreshold: 1_000,
  sweepInterval: 200,
  gcLockTtl: 5_000,
}
