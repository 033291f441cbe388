// A process that runs graphile-worker with Holdfast: to be killed, paused and stopped.
import { childOptions, connect } from '@holdfast/chaos'
import { TaskMonitor, type TaskMonitorOptions } from '@holdfast/core'
import {
  Logger as GraphileLogger,
  type Logger,
  type RunnerOptions,
  run,
  type TaskList,
} from 'graphile-worker'
import { graphileWorkerAdapter } from '../../src/index.js'

export interface WorkerOptions {
  readonly url: string
  readonly concurrency?: number
  readonly handOffConcurrency?: number
  readonly monitor?: Partial<TaskMonitorOptions>
  readonly preset?: RunnerOptions['preset']
  /** Without Holdfast, to see what graphile-worker alone does. */
  readonly plain?: boolean
}

interface Payload {
  /** Waits in the handler until the row `gate` is there. */
  readonly gate?: string
  readonly fail?: string
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

async function note(what: string, jobId: string, attempts: number): Promise<void> {
  await db.insertInto('ledger').values({ what, job: jobId, attempts, pid: process.pid }).execute()
}

async function gateOpen(gate: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted()
    const open = await db.selectFrom('gates').select('name').where('name', '=', gate).executeTakeFirst()
    if (open !== undefined) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function work(
  { gate, fail }: Payload,
  job: { id: string; attempts: number },
  signal: AbortSignal,
): Promise<void> {
  await note('start', job.id, job.attempts)
  if (gate !== undefined) await gateOpen(gate, signal)
  if (fail !== undefined) throw new Error(fail)
  await note('finish', job.id, job.attempts)
}

const never = new AbortController().signal
const taskList: TaskList = {
  guarded: async (payload, { job }) => work(payload as Payload, job, never),
  handed: adapter.handOff<Payload>((payload, { job, abortSignal }) => work(payload, job, abortSignal), {
    concurrency: options.handOffConcurrency ?? 50,
  }),
}

if (!options.plain) await monitor.start()
const logger: Logger = new GraphileLogger(() => (level, message) => {
  if (level === 'error') console.error(message)
})
const runner = await run({
  connectionString: options.url,
  concurrency: options.concurrency ?? 10,
  noHandleSignals: true,
  pollInterval: 60_000,
  taskList,
  logger,
  preset: { ...options.preset, plugins: options.plain ? [] : [adapter.plugin] },
})
runner.promise.then(
  () => send({ type: 'runnerEnded' }),
  (error) => send({ type: 'runnerEnded', error: String(error) }),
)

process.on('message', async (message) => {
  if (message === 'stop' || message === 'stopMonitor') {
    if (message === 'stop') await runner.stop()
    await monitor.stop({ drain: 500 })
    await runner.promise
    send({ type: 'stopped' })
    await db.destroy()
    process.disconnect()
  }
})
send({ type: 'ready', processId: monitor.processId })
