import { testAdapter } from '@holdfast/adapter-testkit'
import { compiled, legUrl } from '@holdfast/chaos'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { myQueueTestQueue } from './support/kit-queue.js'

testAdapter(
  { describe, it, beforeAll, afterAll },
  {
    name: 'my-queue',
    ways: ['track'],
    worker: compiled(new URL('./support/kit-worker.ts', import.meta.url)),
    databases: [legUrl()],
    setup: myQueueTestQueue,
    // Jobs with more to them than their data: a priority, a key, attempts left.
    samples: [],
    // What my-queue may hold of a dead worker's job, or hold again.
    situations: [],
  },
)
