// The worker of the conformance tests.
import { runWorker } from '@holdfast/adapter-testkit/worker'
import { type MyQueue, type MyQueueJob, myQueueAdapter } from '../../src/index.js'

await runWorker(({ concurrency, handler, wrap }) => {
  const queue: MyQueue = { name: 'jobs' }
  const adapter = myQueueAdapter({ queue })
  const run = wrap(adapter.track((job: MyQueueJob, task) => handler(job.data, task.signal, task)))
  return {
    adapter,
    work() {
      throw new Error(`Not written yet: take jobs, ${concurrency} at a time, and run each with ${run}.`)
    },
  }
})
