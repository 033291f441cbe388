import { MemoryQueue } from '@holdfast/adapter-testkit/memory'
import { runWorker } from '@holdfast/adapter-testkit/worker'
import { exampleAdapter } from './adapter.js'

await runWorker(({ options, concurrency, handler, wrap }) => {
  const queue = new MemoryQueue(options.url)
  const adapter = exampleAdapter({ queue })
  return {
    adapter,
    work: () => queue.work(concurrency, wrap(adapter.track((job, signal) => handler(job.data, signal)))),
    close: () => queue.close(),
  }
})
