export { type MyQueueAdapter, type MyQueueAdapterOptions, myQueueAdapter } from './adapter.js'
export type { MyQueue, MyQueueJob } from './queue.js'
