export { type BeeQueueAdapter, type BeeQueueAdapterOptions, beeQueueAdapter } from './adapter.js'
export type { BeeHandler, BeeJob, BeeQueue, DoneCallback, ProtectedJob, WrappedHandler } from './bee-queue.js'
export type { HandOffOptions, ProtectOptions, TrackOptions } from './options.js'
