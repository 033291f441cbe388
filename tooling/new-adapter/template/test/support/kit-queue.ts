import type { SetupContext, TestQueue } from '@holdfast/adapter-testkit'
import { type MyQueue, myQueueAdapter } from '../../src/index.js'

const notWritten = (what: string): never => {
  throw new Error(`Not written yet: ${what} (test/support/kit-queue.ts).`)
}

/** A queue of my-queue's for the conformance tests. */
export async function myQueueTestQueue({ proxy }: SetupContext): Promise<TestQueue> {
  const queue: MyQueue = { name: 'jobs' }
  return {
    // What test/support/kit-worker.ts needs to connect.
    options: {},
    probes: {
      add: async () => notWritten('add a job'),
      list: async () => notWritten('list all jobs'),
    },
    async connect() {
      await proxy(notWritten('the address of the queue, to be given to the adapter through this proxy'))
      return { adapter: myQueueAdapter({ queue }) }
    },
    close: async () => undefined,
  }
}
