import { realpathSync } from 'node:fs'
import { dirname } from 'node:path'
import { typeErrors } from '@holdfast/chaos'
import { expect, it } from 'vitest'
import { graphileMain } from './support/graphile.js'

/** What a user of graphile-worker's own types writes; each line with an error says so. */
const PROGRAM = `
import { graphileWorkerAdapter } from '@holdfast/graphile-worker'
import { run, type Task, type TaskList } from 'graphile-worker'

declare global {
  namespace GraphileWorker {
    interface Tasks {
      ask_model: { prompt: string }
    }
  }
}

const adapter = graphileWorkerAdapter({ mode: 'track', tasks: { ask_model: { mode: 'handOff', concurrency: 5 } } })

// A task list's own types reach the handlers that are wrapped in it.
export const taskList: TaskList = {
  ask_model: adapter.handOff(
    async (payload, { abortSignal, job, task, reportProgress }) => {
      const prompt: string = payload.prompt
      // @ts-expect-error a prompt is no number
      const wrong: number = payload.prompt
      abortSignal.throwIfAborted()
      await reportProgress()
      await task.complete()
      console.log(prompt, wrong, job.attempts)
    },
    { concurrency: 5, maxRuntime: 60_000 },
  ),
}
export const tracked: Task<'ask_model'> = adapter.track(async ({ prompt }, { task }) => {
  console.log(prompt.length, task.jobRef)
})
// By name where nothing says which task it is.
export const named = adapter.track<'ask_model'>(async ({ prompt }) => console.log(prompt.length))
// A task that is not declared has the payload that graphile-worker gives it.
export const undeclared: Task = adapter.track(async (payload) => {
  // @ts-expect-error unknown
  console.log(payload.prompt)
})
// @ts-expect-error another payload than is declared
export const other: Task<'ask_model'> = adapter.track(async ({ topic }: { topic: string }) => console.log(topic))
// @ts-expect-error a limit is needed
adapter.handOff(async () => undefined, {})
// @ts-expect-error no mode
graphileWorkerAdapter({ mode: 'watch' })

// The plugin fits into a preset, and the user's tasks stay as they are.
await run({ preset: { plugins: [adapter.plugin] }, taskList: { ask_model: async ({ prompt }) => console.log(prompt) } })
`

it('the types of the user’s tasks reach the handlers that are wrapped', () => {
  const declarations = realpathSync(graphileMain).replace(/\.js$/, '.d.ts')
  const paths = { 'graphile-worker': [declarations], 'graphile-worker/*': [`${dirname(declarations)}/*`] }
  expect(typeErrors(new URL('..', import.meta.url), { 'program.ts': PROGRAM }, { options: { paths } })).toBe(
    '',
  )
})
