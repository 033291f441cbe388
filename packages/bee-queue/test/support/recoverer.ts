// A process that recovers until it kills itself: at a random point of a recovery, or not at all.
import { childOptions, connect } from '@holdfast/chaos'
import { type QueueAdapter, TaskMonitor } from '@holdfast/core'
import { beeQueueAdapter } from '../../src/index.js'
import { BeeQueue, redisOf } from './bee.js'
import { TIMES } from './times.js'

export interface RecovererOptions {
  readonly url: string
  readonly redis: string
  readonly queue: string
  /** How likely it dies at each point of each batch, 0 to 1. */
  readonly deadly: number
  readonly settings?: object
}

const { url, redis, queue: name, deadly, settings }: RecovererOptions = childOptions()
const queue = new BeeQueue(name, { redis: redisOf(redis), ...settings })
queue.on('error', () => undefined)
const adapter = beeQueueAdapter({ queues: [queue] })

/** `claimed`: rows are claimed and Redis knows nothing. `half`: some jobs are done. `written`: all are, the rows are not. */
const mayDie = (_point: 'claimed' | 'half' | 'written' | 'settled'): void => {
  if (Math.random() < deadly) process.kill(process.pid, 'SIGKILL')
}

const deadlyAdapter: QueueAdapter = {
  ...adapter,
  async recover(jobs, context) {
    mayDie('claimed')
    const middle = Math.ceil(jobs.length / 2)
    const first = await adapter.recover(jobs.slice(0, middle), context)
    mayDie('half')
    const second = await adapter.recover(jobs.slice(middle), context)
    mayDie('written')
    return [...first, ...second]
  },
}

const quiet = { warn: () => undefined, error: () => undefined }
const monitor = new TaskMonitor({
  db: connect(url, 3),
  adapters: [deadlyAdapter],
  logger: quiet,
  ...TIMES,
  batchSize: 20,
})
monitor.on('recovered', () => mayDie('settled'))
await monitor.start()
process.send?.('ready')
