import assert from 'node:assert/strict'
import { compiled } from '@holdfast/chaos'
import type { AdapterTestOptions, Probes, TestQueue } from '../../src/index.js'
import { type MemoryJob, MemoryQueue, MemoryQueueServer } from '../../src/memory/index.js'
import { connectMemory, type MemoryOptions } from './connect.js'

export interface MemoryTestQueue extends TestQueue {
  readonly server: MemoryQueueServer
}

const stateOf = ({ state, notBefore }: MemoryJob) =>
  state !== 'waiting' ? state : notBefore > Date.now() ? 'delayed' : 'runnable'

function probesOf(queue: MemoryQueue): Probes {
  return {
    async add(data, options = {}) {
      const { id } = await queue.add({ data, ...options })
      return { id, jobRef: id }
    },
    async list() {
      return (await queue.list()).map((job) => ({
        id: job.id,
        jobRef: job.id,
        data: job.data,
        state: stateOf(job),
        fields: { priority: job.priority, maxAttempts: job.maxAttempts, attempts: job.attempts },
      }))
    },
  }
}

/** The kit's options for the reference adapter, or a broken one. */
export function memoryTests(
  name: string,
  { fault }: Pick<MemoryOptions, 'fault'> = {},
): AdapterTestOptions<MemoryTestQueue> {
  return {
    name,
    ways: ['track', 'handOff'],
    worker: compiled(new URL('./worker.ts', import.meta.url)),
    async setup({ proxy }) {
      const server = await MemoryQueueServer.start()
      const url = await proxy(server.url)
      const own = fault === undefined ? {} : { fault }
      return {
        server,
        probes: probesOf(new MemoryQueue(server.url)),
        options: { url: server.url, ...own },
        connect: async () => ({ adapter: connectMemory({ url, ...own }).adapter }),
        close: () => server[Symbol.asyncDispose](),
      }
    },
    samples: [
      {
        name: 'a priority and attempts',
        async add(queue, data) {
          const { id } = queue.server.jobs.add({ data, priority: -3, maxAttempts: 7 })
          return { id, jobRef: id }
        },
      },
    ],
    situations: [
      {
        name: 'lost by its queue',
        outcome: 'requeued',
        arrange: async ({ server }, { id }) => server.jobs.remove({ id }),
      },
      {
        name: 'waiting, given back by its queue',
        ways: ['track'],
        outcome: 'alreadyThere',
        async arrange({ server }, { id }) {
          const job = server.jobs.list().find((one) => one.id === id)!
          server.jobs.release({ id, token: job.token! })
        },
      },
      {
        name: 'completed, with only its row left',
        ways: ['track'],
        outcome: 'finished',
        async arrange({ server }, { id }) {
          const job = server.jobs.list().find((one) => one.id === id)!
          server.jobs.complete({ id, token: job.token! })
        },
      },
    ],
    additionalTests({ it }, fleet) {
      it('sees the reference adapter register a job under the id that its queue gave it', async () => {
        await fleet().worker()
        const job = await fleet().add({ gate: 'end' })
        await fleet().started(job, 1)
        const [row] = await fleet().records.tasks()
        assert.equal(row!.jobRef, job.id)
      })
    },
  }
}
