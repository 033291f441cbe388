export { type BullmqAdapter, type BullmqAdapterOptions, bullmqAdapter } from './adapter.js'
export type { BullmqQueue, ProtectedJob, ProtectedProcessor, WrappedProcessor } from './bullmq.js'
export type { HandOffOptions, ProtectOptions, TrackOptions } from './options.js'
