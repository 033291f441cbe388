export {
  type GraphileWorkerAdapter,
  type GraphileWorkerAdapterOptions,
  graphileWorkerAdapter,
  type PayloadOf,
  type TaskName,
} from './adapter.js'
export type { HandOffHandler, HandOffHelpers } from './hand-off.js'
export type { TrackHandler, TrackHelpers } from './in-place.js'
export type { AnyDatabase } from './run.js'
export type { ExhaustedPolicy, HandOffOptions, Mode, TaskOptions, TrackOptions } from './task-options.js'
