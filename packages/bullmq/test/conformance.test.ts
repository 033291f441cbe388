import { testAdapter } from '@holdfast/adapter-testkit'
import { compiled, legUrl, requiredUrl } from '@holdfast/chaos'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { bullmqVersion } from './support/bull.js'
import { ConformanceQueue } from './support/kit-queue.js'

testAdapter<ConformanceQueue>(
  { describe, it, beforeAll, afterAll },
  {
    name: `BullMQ ${bullmqVersion}`,
    ways: ['track', 'handOff', 'guard'],
    worker: compiled(new URL('./support/kit-worker.ts', import.meta.url)),
    databases: [legUrl()],
    async setup({ proxy }) {
      const redis = requiredUrl('HOLDFAST_REDIS_URL')
      return new ConformanceQueue(redis, await proxy(redis))
    },
    samples: [
      {
        name: 'a priority, attempts and a backoff',
        add: (queue, work) =>
          queue.add(work, { priority: 7, attempts: 5, backoff: { type: 'exponential', delay: 100 } }),
      },
      {
        name: 'an id and a name of its own',
        add: (queue, work) => queue.add(work, { jobId: 'my-id' }, 'of its own'),
      },
      {
        name: 'a deduplication id',
        add: (queue, work) => queue.add(work, { deduplication: { id: 'only' } }),
      },
      {
        name: 'lifo and limits of what is kept',
        add: (queue, work) => queue.add(work, { lifo: true, keepLogs: 2 }),
      },
    ],
    situations: [
      {
        name: 'completed, with only its row left',
        ways: ['track'],
        outcome: 'finished',
        async arrange(queue, held) {
          const { job, token } = await queue.held(held)
          await job.moveToCompleted(null, token, false)
        },
      },
      {
        name: 'completed and removed',
        ways: ['track'],
        outcome: 'finished',
        async arrange(queue, held) {
          const { job, token } = await queue.held(held)
          job.opts.removeOnComplete = true
          await job.moveToCompleted(null, token, false)
        },
      },
      {
        name: 'removed once it was handed off',
        ways: ['handOff'],
        outcome: 'requeued',
        arrange: async (queue, held) => (await queue.held(held)).job.remove(),
      },
      {
        name: 'waiting for its next attempt',
        ways: ['track'],
        outcome: 'finished',
        runs: 1,
        arrange: (queue, held) => queue.retry(held),
      },
      {
        name: 'active with its lock run out',
        ways: ['track'],
        outcome: 'requeued',
        arrange: (queue, held) => queue.unlock(held),
      },
      {
        name: 'active with its lock run out, so that BullMQ’s stalled check has it',
        ways: ['guard'],
        outcome: 'none',
        arrange: (queue, held) => queue.unlock(held),
      },
      {
        name: 'given back by BullMQ’s stalled check',
        ways: ['track'],
        outcome: 'requeued',
        arrange: (queue, held) => queue.stall(held),
      },
      {
        name: 'with another worker',
        ways: ['track'],
        outcome: 'superseded',
        arrange: (queue, held) => queue.takeOver(held),
      },
    ],
  },
)
