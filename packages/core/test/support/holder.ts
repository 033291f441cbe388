// A process that holds tasks until it is killed, paused or told what to do.
import type { Worker } from 'node:worker_threads'
import { childOptions, connect, kyselyVersion } from '@holdfast/chaos'
import { type TaskHandle, TaskMonitor, type TaskMonitorOptions } from '../../src/index.js'
import { mortal } from './fast.js'
import { tableQueueAdapter } from './table-queue.js'

export interface HolderOptions {
  readonly url: string
  /** The jobs it takes: each registers under this jobRef. */
  readonly refs?: readonly string[]
  readonly monitor?: Partial<TaskMonitorOptions>
}

const { url, refs = [], monitor: overrides }: HolderOptions = childOptions()
const db = connect(url)
const monitor = new TaskMonitor({ db, adapters: [tableQueueAdapter()], ...mortal, ...overrides })
const send = (message: object): void => void process.send?.(message)

monitor.on('evicted', (event) => send({ type: 'evicted', ...event }))
monitor.on('leaseExpired', (event) => send({ type: 'leaseExpired', ...event }))
monitor.on('recovered', (event) => send({ type: 'recovered', ...event }))
monitor.on('eventLoopBlocked', (event) => send({ type: 'eventLoopBlocked', ...event }))
monitor.on('heartbeatFailed', ({ error }) => send({ type: 'heartbeatFailed', error: String(error) }))
let thread: Worker | undefined
process.on('worker', (worker) => {
  thread = worker
})
await monitor.start()

const held: TaskHandle[] = await Promise.all(
  refs.map((jobRef) => monitor.register({ payload: { jobRef }, jobRef })),
)
for (const task of held) {
  task.signal.addEventListener('abort', () => {
    send({ type: 'aborted', jobRef: task.jobRef, code: (task.signal.reason as { code?: string }).code })
  })
}

process.on('message', async (message) => {
  if (message === 'complete') {
    const results = await Promise.allSettled(held.map((task) => task.complete()))
    const codes = results.map((result) =>
      result.status === 'fulfilled' ? 'ok' : (result.reason.code as string),
    )
    send({ type: 'completed', codes })
  }
  if (message === 'register') {
    const task = await monitor.register({ payload: { again: true } })
    await task.complete()
    send({ type: 'registered', fullId: task.fullId })
  }
  if (message === 'health') send({ type: 'health', ...monitor.health() })
  if (message === 'end thread') await thread?.terminate()
  if (typeof message === 'object' && message !== null && 'block' in message) {
    const end = performance.now() + Number(message.block)
    while (performance.now() < end);
    // In the same turn, before any timer and any message.
    send({ type: 'blocked', leaseRemainingMs: monitor.health().leaseRemainingMs })
  }
  if (typeof message === 'object' && message !== null && 'registerThenBlock' in message) {
    const registering = monitor.register({ payload: null, jobRef: 'late' })
    // The database is made to answer only when the event loop is blocked.
    await new Promise((resolve) => setTimeout(resolve, 50))
    send({ type: 'blocking' })
    await new Promise((resolve) => setImmediate(resolve))
    const end = performance.now() + Number(message.registerThenBlock)
    while (performance.now() < end);
    const code = await registering.then(
      () => 'ok',
      (error) => error.code as string,
    )
    send({ type: 'late', code })
  }
  if (message === 'versions') send({ type: 'versions', kysely: await kyselyVersion() })
  if (message === 'stop') {
    await monitor.stop({ drain: 0 })
    send({ type: 'stopped' })
    await db.destroy()
    process.disconnect()
  }
})
send({ type: 'ready', processId: monitor.processId })
