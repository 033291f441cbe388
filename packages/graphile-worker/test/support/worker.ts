// A process that runs graphile-worker with Holdfast: to be killed, paused and stopped.
import { EventEmitter, once } from 'node:events'
import { childOptions, connect } from '@holdfast/chaos'
import { type TaskHandle, TaskMonitor, type TaskMonitorOptions } from '@holdfast/core'
import type { Logger, RunnerOptions, TaskList, WorkerEvents } from 'graphile-worker'
import { graphileWorkerAdapter } from '../../src/index.js'
import { graphile } from './graphile.js'

export interface WorkerOptions {
  readonly url: string
  readonly concurrency?: number
  /** Milliseconds; so long by default that only a notification can be what wakes a worker. */
  readonly pollInterval?: number
  readonly handOffConcurrency?: number
  readonly monitor?: Partial<TaskMonitorOptions>
  readonly preset?: RunnerOptions['preset']
  /** Without Holdfast, to see what graphile-worker alone does. */
  readonly plain?: boolean
  readonly withoutPlugin?: boolean
  /** Milliseconds that its stop waits for what runs. @default 500 */
  readonly drain?: number
}

interface Payload {
  /** Waits in the handler until the row `gate` is there, or the signal aborts. */
  readonly gate?: string
  readonly fail?: string
  /** Kills its own process. */
  readonly kill?: boolean
  /** Hand-off only: asks graphile-worker's own connection before it finishes. */
  readonly query?: boolean
  /** Hand-off only: writes its ledger row and completes in one transaction, then waits for this gate. */
  readonly inTransaction?: string
}

const options: WorkerOptions = childOptions()
const db = connect(options.url)
const adapter = graphileWorkerAdapter()
const quiet = { warn: () => undefined, error: () => undefined }
const monitor = new TaskMonitor({
  db,
  adapters: [adapter],
  heartbeatInterval: 200,
  orphanThreshold: 1_000,
  sweepInterval: 200,
  gcLockTtl: 5_000,
  logger: quiet,
  ...options.monitor,
})
const send = (message: object): void => void process.send?.(message)
monitor.on('evicted', (event) => send({ type: 'evicted', ...event }))
monitor.on('recovered', (event) => send({ type: 'recovered', ...event }))
monitor.on('quarantined', (event) => send({ type: 'quarantined', ...event }))

/** A handler is patient: while the database is away it waits, so that only Holdfast is what a test sees. */
async function patiently<T>(query: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (;;) {
    signal.throwIfAborted()
    try {
      return await query()
    } catch (error) {
      console.error(`handler waits: ${error}`)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}

async function note(what: string, job: { id: string; attempts: number }, signal: AbortSignal): Promise<void> {
  const row = { what, job: job.id, attempts: job.attempts, pid: process.pid }
  await patiently(() => db.insertInto('ledger').values(row).execute(), signal)
}

async function gateOpen(name: string, signal: AbortSignal): Promise<void> {
  const query = db.selectFrom('gates').select('name').where('name', '=', name)
  while ((await patiently(() => query.executeTakeFirst(), signal)) === undefined) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

interface Job {
  readonly id: string
  readonly attempts: number
}

async function work({ gate, fail, kill }: Payload, job: Job, signal: AbortSignal): Promise<void> {
  await note('start', job, signal)
  if (kill) process.kill(process.pid, 'SIGKILL')
  if (gate !== undefined) await gateOpen(gate, signal)
  if (fail !== undefined) throw new Error(fail)
  await note('finish', job, signal)
}

async function workInTransaction(gate: string, job: Job, task: TaskHandle): Promise<void> {
  await note('start', job, task.signal)
  await db.transaction().execute(async (trx) => {
    const row = { what: 'effect', job: job.id, attempts: job.attempts, pid: process.pid }
    await trx.insertInto('ledger').values(row).execute()
    await task.complete({ trx })
  })
  await gateOpen(gate, task.signal)
}

const never = new AbortController().signal
const taskList: TaskList = {
  guarded: async (payload, { job }) => work(payload as Payload, job, never),
  listening: async (payload, { job, abortSignal }) => work(payload as Payload, job, abortSignal ?? never),
  batch: async (payload, { job }) => {
    await note('start', job, never)
    return (payload as Payload[]).map(async ({ fail }) => {
      if (fail !== undefined) throw new Error(fail)
    })
  },
  handed: adapter.handOff(
    async (given, { job, abortSignal, task, query }) => {
      const payload = given as Payload
      if (payload.inTransaction !== undefined) return workInTransaction(payload.inTransaction, job, task)
      await work(payload, job, abortSignal)
      if (payload.query) await query('insert into ledger (what, job) values ($1, $2)', ['query', job.id])
    },
    { concurrency: options.handOffConcurrency ?? 50 },
  ),
}

if (!options.plain) await monitor.start()
const logger: Logger = new graphile.Logger(() => (level, message) => {
  if (level === 'error') console.error(message)
})
// Only a worker that listens is woken by what is added: one that is ready sooner would sleep until its next poll.
const events: WorkerEvents = new EventEmitter()
const listening = once(events, 'pool:listen:success')
const runner = await graphile.run({
  events,
  connectionString: options.url,
  concurrency: options.concurrency ?? 10,
  noHandleSignals: true,
  pollInterval: options.pollInterval ?? 60_000,
  taskList,
  logger,
  preset: { ...options.preset, plugins: options.plain || options.withoutPlugin ? [] : [adapter.plugin] },
})
runner.promise.then(
  () => send({ type: 'runnerEnded' }),
  (error) => send({ type: 'runnerEnded', error: String(error) }),
)

process.on('message', async (message) => {
  if (message !== 'stop' && message !== 'stopRunner') return
  // The monitor's stop stops guarded runners too; the runner's alone waits for handed-off work without limit.
  if (message === 'stopRunner') await runner.stop()
  await monitor.stop({ drain: options.drain ?? 500 })
  await runner.promise.catch(() => undefined) // Told above.
  send({ type: 'stopped' })
  await db.destroy()
  process.disconnect()
})
await listening
send({ type: 'ready', processId: monitor.processId })
