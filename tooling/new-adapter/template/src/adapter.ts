import type { Monitor, QueueAdapter, TaskHandle } from '@holdfast/core'
import { jobRefOf, payloadOf } from './payload.js'
import type { MyQueue, MyQueueJob } from './queue.js'
import { recoverJobs } from './recover.js'

export interface MyQueueAdapterOptions {
  readonly queue: MyQueue
  /** The name written on every task row; the same in all processes. @default 'my-queue' */
  readonly name?: string
}

/** `task.signal` aborts when the work should end. */
export type MyQueueHandler = (job: MyQueueJob, task: TaskHandle) => Promise<unknown>

export interface MyQueueAdapter extends QueueAdapter {
  /** Wraps a handler: its job stays active in my-queue while it runs. */
  track(handler: MyQueueHandler): (job: MyQueueJob) => Promise<unknown>
}

/** Connects my-queue. */
export function myQueueAdapter({ queue, name = 'my-queue' }: MyQueueAdapterOptions): MyQueueAdapter {
  let monitor: Monitor | undefined
  return Object.freeze<MyQueueAdapter>({
    name,
    capabilities: Object.freeze({ atomicRecovery: false, preservesJobId: true, delay: false }),
    recover: (jobs, context) => recoverJobs(queue, jobs, context),
    onStart(started) {
      monitor = started
    },
    // Take no more jobs; what runs goes on until `signal` aborts.
    onStop: () => undefined,
    track: (handler) => async (job) => {
      if (monitor === undefined)
        throw new Error('Start the monitor before the worker: `await monitor.start()`.')
      const task = await monitor.register({ queue: name, jobRef: jobRefOf(job), payload: payloadOf(job) })
      // To do: what my-queue is told when `task.signal` aborts, and that a late end of this run is refused. What a
      // handler that throws has done to its task, too: `await monitor.settle(task)`.
      const result = await handler(job, task)
      if ((await monitor.settle(task)) === 'open') await task.complete()
      return result
    },
  })
}
