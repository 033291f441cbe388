import { type MemoryAdapter, MemoryQueue, memoryAdapter } from '../../src/memory/index.js'
import { broken, type Fault } from './broken.js'

export interface MemoryOptions {
  /** Of the queue. */
  readonly url: string
  readonly fault?: Fault
}

/** The reference adapter as a process has it, or a broken one. */
export function connectMemory({ url, fault }: MemoryOptions): { queue: MemoryQueue; adapter: MemoryAdapter } {
  const queue = new MemoryQueue(url)
  return { queue, adapter: fault === undefined ? memoryAdapter({ queue }) : broken(fault, queue) }
}
