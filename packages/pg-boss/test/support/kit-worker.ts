import { runWorker } from '@holdfast/adapter-testkit/worker'
import { pgBossAdapter } from '../../src/index.js'
import { isTen, makeBoss } from './boss.js'

await runWorker<{ url: string }>(async ({ options, db, way, concurrency, handler, wrap }) => {
  const boss = makeBoss({ connectionString: options.url })
  boss.on('error', (error: unknown) => console.error(error))
  await boss.start()
  const adapter = pgBossAdapter({ boss, db })
  const work =
    way === 'handOff'
      ? adapter.handOff((job) => handler(job.data, job.signal, job.task), { concurrency })
      : adapter.track(async ([job]) => handler(job!.data, job!.signal, job!.task))
  return {
    adapter,
    async work() {
      // One job at a time for each worker of pg-boss's: 12 makes several at once.
      const every = { pollingIntervalSeconds: 0.5, ...(isTen ? {} : { localConcurrency: concurrency }) }
      for (let n = 0; n < (isTen ? concurrency : 1); n++) await boss.work('q', every, wrap(work) as never)
    },
    close: () => boss.stop({ timeout: 1_000 }),
  }
})
