/**
 * Options of the monitor under which a minute of harm is enough; `MONITOR_OPTIONS` has others. As it is not the jobs that
 * kill their workers, none of them becomes a suspect or is given up.
 */
export const shortTimes = (): { readonly heartbeatInterval: number; readonly orphanThreshold: number } => ({
  heartbeatInterval: 500,
  orphanThreshold: 2_000,
  sweepInterval: 500,
  gcLockTtl: 2_000,
  recoveryBackoff: 250,
  maxRecoveries: 100,
  isolateSuspects: false,
  ...JSON.parse(process.env.MONITOR_OPTIONS ?? '{}'),
})
