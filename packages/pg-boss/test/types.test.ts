import { realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { typeErrors } from '@holdfast/chaos'
import { expect, it } from 'vitest'

const require = createRequire(import.meta.url)

/** What a user of pg-boss's own types writes; each line with an error says so. */
const programOf = (importing: string): string => `
import { TaskMonitor } from '@holdfast/core'
import { pgBossAdapter } from '@holdfast/pg-boss'
import type { Kysely } from 'kysely'
${importing}

declare const db: Kysely<{ answers: { text: string } }>
interface Prompt { prompt: string }

const boss = new PgBoss('postgres://localhost/app')
const adapter = pgBossAdapter({ boss, db, schema: 'pgboss', onExhausted: 'refundOnce' })
export const monitor = new TaskMonitor({ db, adapters: [adapter] })

await boss.work<Prompt>('ask', { batchSize: 5 }, adapter.track<Prompt>(async (jobs) => {
  for (const { id, data, task, signal, expireInSeconds } of jobs) {
    const prompt: string = data.prompt
    // @ts-expect-error a prompt is no number
    const wrong: number = data.prompt
    signal.throwIfAborted()
    await db.transaction().execute((trx) => task.complete({ trx }))
    console.log(id, prompt, wrong, expireInSeconds)
  }
}))
await boss.work('any', adapter.track(async ([job]) => ({ length: job!.data.length as number })))
await boss.work('patient', adapter.handOff<Prompt>(async ({ data, signal, task, reportProgress }) => {
  await reportProgress()
  await fetch(data.prompt, { signal })
  await task.complete()
}, { concurrency: 50, maxRuntime: 600_000 }))
// @ts-expect-error concurrency must be given
adapter.handOff(async () => undefined, {})
// @ts-expect-error no such option
adapter.track(async () => undefined, { concurrency: 1 })
`

it.each([
  { installed: 'pg-boss', importing: "import PgBoss from 'pg-boss'" },
  { installed: 'pg-boss-12', importing: "import { PgBoss } from 'pg-boss'" },
])('fit the types of $installed', ({ installed, importing }) => {
  const types = installed === 'pg-boss' ? 'types.d.ts' : 'dist/index.d.ts'
  const paths = { 'pg-boss': [realpathSync(join(dirname(require.resolve(installed)), '..', types))] }
  const home = new URL('..', import.meta.url)
  expect(typeErrors(home, { 'program.ts': programOf(importing) }, { options: { paths } })).toBe('')
})
