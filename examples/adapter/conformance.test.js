import { after, before, describe, it } from 'node:test'
import { testAdapter } from '@holdfast/adapter-testkit'
import { MemoryQueue, MemoryQueueServer } from '@holdfast/adapter-testkit/memory'
import { exampleAdapter } from './adapter.js'

testAdapter(
  { describe, it, beforeAll: before, afterAll: after },
  {
    name: 'the guide’s adapter',
    ways: ['track'],
    worker: new URL('./worker.js', import.meta.url),
    databases: [process.env.HOLDFAST_POSTGRES_URL],
    async setup({ proxy }) {
      const server = await MemoryQueueServer.start()
      const queue = new MemoryQueue(server.url)
      const url = await proxy(server.url)
      return {
        server,
        options: { url: server.url },
        connect: async () => ({ adapter: exampleAdapter({ queue: new MemoryQueue(url) }) }),
        probes: {
          async add(data, options) {
            const { id } = await queue.add({ data, ...options })
            return { id, jobRef: id }
          },
          list: async () => (await queue.list()).map(probed),
        },
        close: () => server[Symbol.asyncDispose](),
      }
    },
    leaveOut: ['a task that its handler ends'], // Its handlers are given a signal, and no task.
    samples: [
      {
        name: 'a priority',
        async add({ server }, data) {
          const { id } = server.jobs.add({ data, priority: -3 })
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
        name: 'completed, with only its row left',
        outcome: 'finished',
        async arrange({ server }, { id }) {
          const { token } = server.jobs.list().find((job) => job.id === id)
          server.jobs.complete({ id, token })
        },
      },
    ],
  },
)

/** @returns {import('@holdfast/adapter-testkit').ProbedJob} */
function probed({ id, data, state, priority, notBefore }) {
  const waiting = notBefore > Date.now() ? 'delayed' : 'runnable'
  return { id, jobRef: id, data, fields: { priority }, state: state === 'waiting' ? waiting : state }
}
