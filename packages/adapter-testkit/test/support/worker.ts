import { runWorker } from '../../src/worker.js'
import { connectMemory, type MemoryOptions } from './connect.js'

await runWorker<MemoryOptions>(({ options, way, concurrency, handler, wrap }) => {
  const { queue, adapter } = connectMemory(options)
  const protect = way === 'handOff' ? adapter.handOff : adapter.track
  return {
    adapter,
    work: () => queue.work(concurrency, wrap(protect((job, task) => handler(job.data, task.signal, task)))),
    close: () => queue.close(),
  }
})
