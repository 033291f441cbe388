// A process that runs graphile-worker with Holdfast: to be killed, paused and stopped.
import { EventEmitter, once } from 'node:events'
import { childOptions, connect } from '@holdfast/chaos'
import { TaskMonitor, type TaskMonitorOptions } from '@holdfast/core'
import type { Logger, Runner, RunnerOptions, WorkerEvents } from 'graphile-worker'
import {
  type GraphileWorkerAdapter,
  type GraphileWorkerAdapterOptions,
  graphileWorkerAdapter,
} from '../../src/index.js'
import { graphile, graphileVersion } from './graphile.js'
import { testTasks } from './tasks.js'

export interface WorkerOptions {
  readonly url: string
  /** Where the monitor is, if not in the database of graphile-worker. */
  readonly monitorUrl?: string
  readonly concurrency?: number
  /** Milliseconds; so long by default that only a notification can be what wakes a worker. */
  readonly pollInterval?: number
  readonly handOffConcurrency?: number
  readonly adapter?: GraphileWorkerAdapterOptions
  /** Further schemas of graphile-worker, each with an adapter of the same monitor and a runner. */
  readonly moreSchemas?: readonly string[]
  readonly monitor?: Partial<TaskMonitorOptions>
  readonly preset?: RunnerOptions['preset']
  readonly runner?: Partial<RunnerOptions>
  /** How many runners, each with a pool of its own. @default 1 */
  readonly runners?: number
  /** Runs what is there, and ends: `runOnce()`. */
  readonly once?: boolean
  /** Without Holdfast, to see what graphile-worker alone does. */
  readonly plain?: boolean
  readonly withoutPlugin?: boolean
  /** The task list is frozen. */
  readonly frozen?: boolean
  /** Milliseconds that its stop waits for what runs. @default 500 */
  readonly drain?: number
  /** On SIGTERM the runner is stopped, as an application would that doesn't know that graphile-worker does so itself. */
  readonly stopsOnSigterm?: boolean
  /** Unhandled rejections are only told, as error trackers do. */
  readonly surviving?: boolean
}

const options: WorkerOptions = childOptions()
const db = connect(options.url)
const monitorDb = options.monitorUrl === undefined ? db : connect(options.monitorUrl)
const schemas = [options.adapter?.schema, ...(options.moreSchemas ?? [])]
const adapters = schemas.map((schema) =>
  graphileWorkerAdapter({
    ...options.adapter,
    ...(schema === undefined ? {} : { schema }),
    ...(monitorDb === db ? {} : { db }),
  }),
)
const quiet = { warn: (text: string) => console.error(text), error: (text: string) => console.error(text) }
const monitor = new TaskMonitor({
  db: monitorDb,
  adapters,
  heartbeatInterval: 200,
  orphanThreshold: 5_000,
  sweepInterval: 200,
  gcLockTtl: 5_000,
  logger: quiet,
  ...options.monitor,
})
const send = (message: object): void => void process.send?.(message)
for (const event of ['evicted', 'leaseExpired', 'recovered', 'quarantined'] as const) {
  monitor.on(event, (details) => send({ type: event, ...details }))
}
if (options.surviving) {
  process.on('unhandledRejection', (error) => send({ type: 'unhandled', error: String(error) }))
}
if (!options.plain) await monitor.start()
const logger: Logger = new graphile.Logger(() => (level, message) => {
  if (level === 'error' || level === 'warning') console.error(message)
})
const runners: Runner[] = []

async function start(adapter: GraphileWorkerAdapter, schema: string | undefined): Promise<void> {
  const tasks = testTasks(db, adapter, options.handOffConcurrency ?? 50)
  const events: WorkerEvents = new EventEmitter()
  for (const name of [
    'pool:create',
    'worker:fatalError',
    'worker:stop',
    'pool:fatalError',
    'job:complete',
    'pool:listen:error',
    'pool:gracefulShutdown',
  ] as const) {
    events.on(name as 'worker:stop', () => send({ type: name }))
  }
  const runnerOptions: RunnerOptions = {
    events,
    connectionString: options.url,
    concurrency: options.concurrency ?? 10,
    noHandleSignals: true,
    pollInterval: options.pollInterval ?? 60_000,
    taskList: options.frozen ? Object.freeze(tasks) : tasks,
    logger,
    ...(schema === undefined ? {} : { schema }),
    preset: { ...options.preset, plugins: options.plain || options.withoutPlugin ? [] : [adapter.plugin] },
    ...options.runner,
  }
  if (options.once) return void (await graphile.runOnce(runnerOptions))
  // Only a worker that listens is woken by what is added: one that is ready sooner would sleep until its next poll.
  const listening = once(events, 'pool:listen:success')
  const runner = await graphile.run(runnerOptions)
  runners.push(runner)
  runner.promise.then(
    () => send({ type: 'runnerEnded' }),
    (error) => send({ type: 'runnerEnded', error: String(error) }),
  )
  await Promise.race([listening, runner.promise.catch(() => undefined)])
}

process.on('message', async (message) => {
  if (message !== 'stop' && message !== 'stopRunner') return
  // The monitor's stop stops guarded runners too; the runner's alone waits for handed-off work without limit.
  if (message === 'stopRunner') await Promise.all(runners.map((runner) => runner.stop()))
  await monitor.stop({ drain: options.drain ?? 500 })
  await Promise.allSettled(runners.map(({ promise }) => promise)) // Told above.
  send({ type: 'stopped' })
  await db.destroy()
  if (monitorDb !== db) await monitorDb.destroy()
  process.disconnect()
})
if (options.once) send({ type: 'ready', processId: monitor.processId, graphile: graphileVersion })
for (let n = 0; n < (options.runners ?? 1); n++) {
  for (const [index, adapter] of adapters.entries()) await start(adapter, schemas[index])
}
// After graphile-worker's own handlers, which then have begun already.
if (options.stopsOnSigterm) {
  process.on('SIGTERM', async () => {
    send({ type: 'sigterm' })
    await Promise.all(runners.map((runner) => runner.stop().catch(() => undefined)))
    send({ type: 'runnerStopped' })
  })
}
send({
  type: options.once ? 'runOnceEnded' : 'ready',
  processId: monitor.processId,
  graphile: graphileVersion,
})
