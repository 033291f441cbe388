import { typeErrors } from '@holdfast/chaos'
import { expect, it } from 'vitest'

/** What a user of BullMQ's types writes; each line with an error says so. */
const program = (bullmq: string): string => `
import { bullmqAdapter } from '@holdfast/bullmq'
import { type Job, Queue, Worker } from '${bullmq}'

interface Report { topic: string }
const connection = { host: '127.0.0.1' }
const queue = new Queue<Report>('reports', { connection })
const adapter = bullmqAdapter({ queues: [queue] })

const worker = new Worker<Report, number>('reports', adapter.track<Report, number>(async (job, token, signal) => {
  const topic: string = job.data.topic
  // @ts-expect-error a topic is no number
  const wrong: number = job.data.topic
  job.signal.throwIfAborted()
  await job.updateProgress(50)
  await fetch('https://example.org', { signal })
  return token.length + topic.length + job.task.id.length + wrong
}), { connection, autorun: false })
await adapter.guard(worker)

// A processor as BullMQ has it fits too.
const plain = async (job: Job<Report>, token?: string, signal?: AbortSignal): Promise<string> => job.data.topic
new Worker('reports', adapter.track(plain), { connection })
new Worker<Report>('reports', adapter.handOff<Report>(async (job) => job.data.topic, { concurrency: 5, maxRuntime: 1_000 }), { connection })

// @ts-expect-error no queue
bullmqAdapter({ queues: [{}] })
// @ts-expect-error a limit is needed
adapter.handOff(async () => undefined, {})
`

it('the types of a worker’s jobs reach the processors that are wrapped', () => {
  expect(typeErrors(new URL('..', import.meta.url), { 'program.ts': program('bullmq') })).toBe('')
})
