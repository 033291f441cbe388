import { typeErrors } from '@holdfast/chaos'
import { expect, it } from 'vitest'

/** What a user of bee-queue's own types writes; each line with an error says so. */
const PROGRAM = `
import { beeQueueAdapter } from '@holdfast/bee-queue'
import BeeQueue from 'bee-queue'

interface Report { topic: string }
const queue = new BeeQueue<Report>('reports')
const adapter = beeQueueAdapter({ queues: [queue] })

// The types of the queue reach the handler.
queue.process(10, adapter.track(async (job) => {
  const topic: string = job.data.topic
  // @ts-expect-error a topic is no number
  const wrong: number = job.data.topic
  job.signal.throwIfAborted()
  await job.reportProgress({ half: true })
  return { topic, wrong, ref: job.task.jobRef }
}))

// So do those that are given, in both forms.
new BeeQueue('b').process(adapter.track<Report, number>((job, done) => {
  done(null, job.data.topic.length)
  // @ts-expect-error the result is a number
  done(null, job.data.topic)
}))
new BeeQueue<Report>('c').process(adapter.handOff(async (job) => job.data.topic, { concurrency: 5, maxRuntime: 1_000 }))

// @ts-expect-error no queue
beeQueueAdapter({ queues: [{}] })
// @ts-expect-error a limit is needed
adapter.handOff(async () => undefined, {})
`

it('the types of a queue reach the handlers that are wrapped', () => {
  expect(typeErrors(new URL('..', import.meta.url), { 'program.ts': PROGRAM })).toBe('')
})
