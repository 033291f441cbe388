import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, it } from 'vitest'

const folder = fileURLToPath(new URL('../node_modules/.cache/types/', import.meta.url))
const tsc = join(fileURLToPath(new URL('../../../', import.meta.url)), 'node_modules/.bin/tsc')

afterAll(() => rmSync(folder, { recursive: true, force: true }))

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
  mkdirSync(folder, { recursive: true })
  writeFileSync(`${folder}/program.ts`, PROGRAM)
  const compilerOptions = {
    strict: true,
    module: 'NodeNext',
    target: 'ES2022',
    noEmit: true,
    skipLibCheck: true,
    types: ['node'],
  }
  writeFileSync(`${folder}/tsconfig.json`, JSON.stringify({ compilerOptions, include: ['program.ts'] }))
  let output = ''
  try {
    execFileSync(tsc, ['-p', folder], { encoding: 'utf8' })
  } catch (error) {
    output = (error as { stdout: string }).stdout
  }
  expect(output).toBe('')
})
