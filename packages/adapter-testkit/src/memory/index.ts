export { type MemoryAdapter, type MemoryHandler, memoryAdapter } from './adapter.js'
export { JobTable, type MemoryJob, type MemoryState, type NewMemoryJob } from './job-table.js'
export { MemoryQueue } from './queue.js'
export { MemoryQueueServer } from './server.js'
