// The worker of the conformance tests.
import { runWorker } from '@holdfast/adapter-testkit/worker'
import type { TaskHandle } from '@holdfast/core'
import type { Job } from 'bullmq'
import { bullmqAdapter } from '../../src/index.js'
import { bullmq, connectionOf } from './bull.js'

interface Options {
  readonly redis: string
  readonly queue: string
}

await runWorker<Options>(({ options, way, concurrency, handler, wrap }) => {
  const connection = connectionOf(options.redis)
  const queue = new bullmq.Queue(options.queue, { connection })
  queue.on('error', () => undefined)
  const adapter = bullmqAdapter({ queues: [queue] })
  const work = (
    job: Job & { readonly task?: TaskHandle },
    _token?: string,
    signal?: AbortSignal,
  ): Promise<void> => handler(job.data, signal, job.task)
  const ways = {
    track: () => adapter.track(work),
    handOff: () => adapter.handOff(work, { concurrency }),
    guard: () => work,
  }
  const worker = new bullmq.Worker(options.queue, wrap(ways[way]()), {
    ...{ connection, concurrency, autorun: false, drainDelay: 1 },
  })
  worker.on('error', (error) => console.error(error))
  return {
    adapter,
    async work() {
      if (way === 'guard') await adapter.guard(worker)
      void worker.run()
      await worker.waitUntilReady()
    },
    async close() {
      await worker.close()
      await queue.close()
    },
  }
})
