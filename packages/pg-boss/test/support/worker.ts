// A process that runs pg-boss with Holdfast: to be killed, paused and stopped.
import { childOptions, connect } from '@holdfast/chaos'
import { TaskMonitor, type TaskMonitorOptions } from '@holdfast/core'
import { type PgBossAdapterOptions, pgBossAdapter, type TrackOptions } from '../../src/index.js'
import { bossVersion, makeBoss } from './boss.js'
import { type Work, workOn } from './handlers.js'

export interface WorkerOptions {
  readonly url: string
  readonly schema: string
  /** Further schemas of pg-boss's, each with an adapter of the same monitor. */
  readonly others?: readonly string[]
  /** @default ['q'] */
  readonly queues?: readonly string[]
  /** @default 'track' */
  readonly way?: 'track' | 'handOff' | 'plain'
  /** How many workers of pg-boss's, each with one batch at a time. @default 4 */
  readonly workers?: number
  /** Of pg-boss's `work()`. */
  readonly work?: object
  readonly boss?: object
  readonly concurrency?: number
  readonly rows?: TrackOptions
  readonly adapter?: Partial<PgBossAdapterOptions>
  readonly monitor?: Partial<TaskMonitorOptions>
  /** Milliseconds that its stop waits for what runs. @default 500 */
  readonly drain?: number
}

const options: WorkerOptions = childOptions()
const { way = 'track', queues = ['q'] } = options
const db = connect(options.url, 4)
// pg-boss 10 waits for no end that it writes: an outage just then would end the process, with Holdfast and without.
process.on('unhandledRejection', (error) => console.error(error))
const bosses = [options.schema, ...(options.others ?? [])].map((schema) => {
  const boss = makeBoss({ connectionString: options.url, schema, ...options.boss })
  boss.on('error', (error: unknown) => console.error(error))
  return { schema, boss, adapter: pgBossAdapter({ boss, db, schema, ...options.adapter }) }
})
for (const { boss } of bosses) await boss.start()
const quiet = { warn: (text: string) => console.error(text), error: (text: string) => console.error(text) }
const monitor = new TaskMonitor({
  db,
  adapters: bosses.map(({ adapter }) => adapter),
  heartbeatInterval: 200,
  orphanThreshold: 5_000,
  sweepInterval: 200,
  gcLockTtl: 5_000,
  logger: quiet,
  ...options.monitor,
})
const send = (message: object): void => void process.send?.(message)
for (const event of ['evicted', 'leaseExpired', 'recovered', 'quarantined', 'taskOverdue'] as const) {
  monitor.on(event, (details: object) => send({ type: event, ...details }))
}
if (way !== 'plain') await monitor.start()

for (const { schema, boss, adapter } of bosses) {
  const work = workOn(db, schema)
  const batch = async (jobs: readonly Work[]): Promise<unknown> => {
    const results = await Promise.all(jobs.map(work))
    return results.length === 1 ? results[0] : results
  }
  const handlers = {
    plain: batch,
    track: adapter.track(batch as never, options.rows),
    handOff: adapter.handOff((job) => work(job as Work), {
      concurrency: options.concurrency ?? 20,
      ...options.rows,
    }),
  }
  for (const queue of queues) {
    for (let n = 0; n < (options.workers ?? 4); n++) {
      const every = { pollingIntervalSeconds: 0.5, ...options.work }
      await boss.work(queue, every, handlers[way] as never)
    }
  }
}

process.on('message', async (message) => {
  if (message !== 'stop') return
  await monitor.stop({ drain: options.drain ?? 500 })
  for (const { boss } of bosses) await boss.stop({ timeout: 1_000 })
  send({ type: 'stopped' })
  await db.destroy()
  process.disconnect()
})
send({ type: 'ready', processId: monitor.processId, pgBoss: bossVersion })
