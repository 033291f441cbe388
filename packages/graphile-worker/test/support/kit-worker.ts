// The conformance kit's worker: runs graphile-worker, and starts it anew where its process was declared dead.
import { EventEmitter, once } from 'node:events'
import { runWorker } from '@holdfast/adapter-testkit/worker'
import type { TaskHandle } from '@holdfast/core'
import type { JobHelpers, Task, WorkerEvents } from 'graphile-worker'
import { graphileWorkerAdapter } from '../../src/index.js'
import { graphile } from './graphile.js'

await runWorker(({ url, way, concurrency, handler, wrap }) => {
  const adapter = graphileWorkerAdapter()
  const perform = (payload: unknown, helpers: Pick<JobHelpers, 'abortSignal'> & { task?: TaskHandle }) =>
    handler(payload, helpers.abortSignal, helpers.task)
  const work: Record<typeof way, () => Task> = {
    track: () => adapter.track(perform),
    handOff: () => adapter.handOff(perform, { concurrency }),
    guard: () => perform,
  }
  const task = wrap(work[way]())
  let stops = false
  let running: Promise<void> | undefined

  async function run(events: WorkerEvents): Promise<void> {
    const runner = await graphile.run({
      ...{ connectionString: url, concurrency, events, noHandleSignals: true, pollInterval: 500 },
      taskList: { work: task },
      logger: new graphile.Logger(() => (level, message) => {
        if (level === 'error') console.error(message)
      }),
      // By itself graphile-worker then tells no task to end.
      preset: { plugins: [adapter.plugin], worker: { gracefulShutdownAbortTimeout: 60_000 } },
    })
    await runner.promise.catch((error: unknown) => console.error(error))
    if (!stops) await run(new EventEmitter())
  }

  return {
    adapter: Object.freeze<typeof adapter>({
      ...adapter,
      onStop(...args) {
        stops = true
        return adapter.onStop?.(...args)
      },
    }),
    async work() {
      const events: WorkerEvents = new EventEmitter()
      const listening = once(events, 'pool:listen:success')
      running = run(events)
      await Promise.race([listening, running])
    },
    close: () => running,
  }
})
