// The worker of the conformance kit.
import { runWorker } from '@holdfast/adapter-testkit/worker'
import { beeQueueAdapter, type ProtectedJob } from '../../src/index.js'
import { BeeQueue, redisOf } from './bee.js'
import type { KitOptions } from './kit-queue.js'

await runWorker<KitOptions>(async ({ options, way, concurrency, handler, wrap }) => {
  const queue = new BeeQueue(options.queue, { redis: redisOf(options.redis), ...options.settings })
  queue.on('error', (error) => console.error(error))
  const adapter = beeQueueAdapter({ queues: [queue] })
  const run = (job: ProtectedJob) => handler(job.data, job.signal, job.task)
  const protect = () => (way === 'handOff' ? adapter.handOff(run, { concurrency }) : adapter.track(run))
  await queue.ready()
  return { adapter, work: () => void queue.process(concurrency, wrap(protect())) }
})
