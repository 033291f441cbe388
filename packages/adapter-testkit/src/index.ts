export type { Fleet, MonitorStart, Victim, WorkerProcess, WorkerStart } from './fleet.js'
export type { RecoveryRow, TaskRow } from './records.js'
export type { TestRunner } from './runner.js'
export type {
  AdapterTestOptions,
  AddedJob,
  AddOptions,
  Connected,
  Deed,
  HeldJob,
  ProbedJob,
  ProbedState,
  Probes,
  Sample,
  SetupContext,
  Situation,
  TestDatabase,
  TestQueue,
  Way,
  Work,
} from './setup.js'
export { testAdapter } from './test-adapter.js'
