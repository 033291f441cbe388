import { testAdapter } from '@holdfast/adapter-testkit'
import { compiled, legUrl } from '@holdfast/chaos'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { beeVersion } from './support/bee.js'
import { type BeeTestQueue, beeTestQueue } from './support/kit-queue.js'

testAdapter<BeeTestQueue>(
  { describe, it, beforeAll, afterAll },
  {
    name: `bee-queue ${beeVersion}`,
    ways: ['track', 'handOff'],
    worker: compiled(new URL('./support/kit-worker.ts', import.meta.url)),
    databases: [legUrl()],
    setup: beeTestQueue,
    samples: [
      { name: 'retries left', add: (queue, work) => queue.addJob(work, (job) => job.retries(5)) },
      {
        name: 'a backoff',
        add: (queue, work) => queue.addJob(work, (job) => job.backoff('exponential', 40)),
      },
      { name: 'a timeout', add: (queue, work) => queue.addJob(work, (job) => job.timeout(90_000)) },
      { name: 'an id of its own', add: (queue, work) => queue.addJob(work, (job) => job.setId('mine: ü 1')) },
    ],
    situations: [
      {
        name: 'waiting, given back by bee-queue’s own check',
        ways: ['track'],
        outcome: 'requeued',
        async arrange({ command }, { id }) {
          await command('lrem', 'active', 0, id)
          await command('lpush', 'waiting', id)
        },
      },
      {
        name: 'succeeded, with only its row left',
        ways: ['track'],
        outcome: 'finished',
        async arrange({ command }, { id, jobRef }) {
          await command('lrem', 'active', 0, id)
          await command('sadd', 'succeeded', id)
          await command('hdel', 'holdfast:owners', `${id}@${jobRef.split('@').at(-1)}`)
        },
      },
      {
        name: 'removed by a person while it ran',
        ways: ['track'],
        outcome: 'finished',
        async arrange({ command }, { id }) {
          await command('lrem', 'active', 0, id)
          await command('hdel', 'jobs', id)
        },
      },
      {
        name: 'active, with its data lost',
        ways: ['track'],
        outcome: 'requeued',
        arrange: async ({ command }, { id }) => void (await command('hdel', 'jobs', id)),
      },
      {
        name: 'removed from what has succeeded',
        ways: ['handOff'],
        outcome: 'requeued',
        async arrange({ command }, { id }) {
          await command('srem', 'succeeded', id)
          await command('hdel', 'jobs', id)
        },
      },
    ],
  },
)
