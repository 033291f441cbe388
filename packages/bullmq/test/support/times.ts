/** Short times for tests. The lease is longer than a busy machine may stand still, as far as tests have that long. */
export const TIMES = {
  heartbeatInterval: 200,
  orphanThreshold: 3_000,
  sweepInterval: 200,
  gcLockTtl: 5_000,
}
