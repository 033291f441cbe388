import { runWorker } from '../../src/worker.js'
import { connectMemory, type MemoryOptions } from './connect.js'

await runWorker<MemoryOptions>(({ options, way, concurrency, handler }) => {
  const { queue, adapter } = connectMemory(options)
  const wrap = way === 'handOff' ? adapter.handOff : adapter.track
  return {
    adapter,
    work: () =>
      queue.work(
        concurrency,
        wrap((job, task) => handler(job.data, task.signal)),
      ),
    close: () => queue.stop(),
  }
})
