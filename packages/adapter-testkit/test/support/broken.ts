import type { MemoryAdapter, MemoryQueue } from '../../src/memory/index.js'
import { memoryAdapter } from '../../src/memory/index.js'

export type Fault = 'none'

export function broken(_fault: Fault, queue: MemoryQueue): MemoryAdapter {
  return memoryAdapter({ queue })
}
