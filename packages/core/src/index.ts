export type {
  AdapterCapabilities,
  DecidedJob,
  Decision,
  JobOutcome,
  Orphan,
  OrphanedJob,
  QueueAdapter,
  RecoveryContext,
} from './adapter.js'
export type { CleanupOptions } from './cleanup.js'
export { type AesKey, aesGcmCodec, type PayloadCodec } from './codec.js'
export * from './errors.js'
export type {
  MonitorEventName,
  MonitorEvents,
  OverdueEvent,
  QuarantinedEvent,
  RecoveredEvent,
  SweepEvent,
  TaskEvent,
} from './events.js'
export { linkedSignal } from './linked-signal.js'
export type { Logger } from './logger.js'
export { migrate } from './migrations/migrate.js'
export type { MigrationId } from './migrations/migration.js'
export { type MigrationSqlOptions, migrationSql } from './migrations/migration-sql.js'
export {
  type HoldfastMigration,
  type HoldfastMigrationProvider,
  migrationProvider,
} from './migrations/provider.js'
export type { Monitor } from './monitor.js'
export type { MonitorHealth, MonitorStats, RegisterOptions, StopOptions } from './monitor-types.js'
export type { MonitorConfig, StoreOptions, TaskMonitorOptions } from './options.js'
export { OwnTask } from './own-task.js'
export type {
  Quarantine,
  QuarantineDetails,
  QuarantineEntry,
  QuarantineListOptions,
} from './quarantine.js'
export { queueName } from './queue-name.js'
export { recoverEach } from './recover-each.js'
export type { CrashDecision, CrashPolicy } from './recovery/decide.js'
export { Semaphore } from './semaphore.js'
export type { DialectName } from './store/dialect.js'
export type { JobHolder, ProcessRow } from './store/processes.js'
export { within } from './store/within.js'
export type { SweepCounts } from './sweep.js'
export { overdue } from './task/overdue.js'
export type {
  AnyTransaction,
  CompleteOptions,
  ReleaseOptions,
  Settled,
  SettleOptions,
  TaskHandle,
} from './task/task-handle.js'
export { TaskMonitor } from './task-monitor.js'
