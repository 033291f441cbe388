// A process that works on bee-queue's jobs with Holdfast: to be killed, paused and stopped.
import { childOptions, connect, Ledger, type Thrown, thrown } from '@holdfast/chaos'
import { TaskMonitor, type TaskMonitorOptions } from '@holdfast/core'
import { beeQueueAdapter, type ProtectedJob } from '../../src/index.js'
import { BeeQueue, type ClientKind, type Queue, redisOf } from './bee.js'
import { type Ending, endTask } from './endings.js'
import { TIMES } from './times.js'
import { type Wrapper, wrapped } from './wrapped.js'

export interface WorkerOptions {
  readonly url: string
  readonly redis: string
  readonly ledger: string
  /** Names of its queues. */
  readonly queues: readonly string[]
  readonly settings?: object
  readonly client?: ClientKind
  readonly concurrency?: number
  /** @default 'track' */
  readonly way?: 'track' | 'callback' | 'handOff' | 'unwrapped' | 'plain'
  readonly handOffConcurrency?: number
  /** How the wrapped handler is wrapped once more. */
  readonly wrapper?: Wrapper
  readonly monitor?: Partial<TaskMonitorOptions>
  /** Milliseconds between bee-queue's pop and our wrapper. */
  readonly lag?: number
  /** Milliseconds that its stop waits for what runs. @default 500 */
  readonly drain?: number
}

/** What a test has a job do. */
export interface Work {
  /** Waits until the gate is open, or the signal aborts where `listens`. */
  readonly gate?: string
  readonly listens?: boolean
  readonly fail?: string
  /** Throws one of these. */
  readonly throws?: Thrown
  /** Its result, or what it makes of its data, is what JSON can't hold. */
  readonly unstorable?: 'result' | 'data'
  /** Fails until it has begun this often. */
  readonly failFirst?: number
  readonly kill?: boolean
  /** Milliseconds that it blocks the event loop. */
  readonly block?: number
  /** Blocks the event loop until this gate opens. */
  readonly blockUntil?: string
  readonly result?: unknown
  readonly progress?: unknown
  /** How its runs end their task themselves, one after the other. */
  readonly endings?: readonly Ending[]
}

const options: WorkerOptions = childOptions()
const ledger = new Ledger(options.ledger)
const send = (message: object): void => void process.send?.(message)
const db = connect(options.url, 10)

const queues: Queue[] = options.queues.map(
  (name) =>
    new BeeQueue(name, {
      redis: redisOf(options.redis, options.client),
      stallInterval: 1_000,
      ...options.settings,
    }),
)
const adapter = beeQueueAdapter({
  // Without Holdfast a queue is as bee-queue made it.
  queues: options.way === 'plain' ? [new BeeQueue('none', { redis: redisOf(options.redis) })] : queues,
})
const quiet = { warn: () => undefined, error: () => undefined }
const monitor = new TaskMonitor({ db, adapters: [adapter], logger: quiet, ...TIMES, ...options.monitor })
for (const name of [
  'evicted',
  'recovered',
  'quarantined',
  'unprotected',
  'recoveryFailed',
  'taskOverdue',
] as const) {
  monitor.on(name, (event) =>
    send({ type: name, ...event, error: String('error' in event ? event.error : '') }),
  )
}

async function work(queue: Queue, job: ProtectedJob): Promise<unknown> {
  const { gate, listens, fail, failFirst, kill, block, blockUntil, result, progress, endings } =
    job.data as Work
  const { throws, unstorable } = job.data as Work
  const note = (what: 'start' | 'finish' | 'aborted', detail?: unknown): void =>
    ledger.note({ what, queue: queue.name, job: job.id, detail })
  note('start', { protected: job.task?.protected, retries: job.options.retries })
  if (progress !== undefined) await job.reportProgress(progress)
  if (kill) process.kill(process.pid, 'SIGKILL')
  while (blockUntil !== undefined && !ledger.isOpen(blockUntil));
  if (block !== undefined) {
    const until = Date.now() + block
    while (Date.now() < until);
  }
  job.signal?.addEventListener('abort', () =>
    note('aborted', String(job.signal.reason?.code ?? job.signal.reason)),
  )
  while (gate !== undefined && !ledger.isOpen(gate)) {
    if (listens) job.signal.throwIfAborted()
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  if (unstorable === 'data') Object.assign(job.data as object, { self: job.data })
  if (unstorable === 'result') return 1n
  const ending = endings?.[ledger.entries('start', job.id).length - 1]
  if (ending !== undefined) await endTask(ending, { db, job, ledger })
  if (throws !== undefined) throw thrown(throws)
  if (fail !== undefined) throw new Error(fail)
  if (failFirst !== undefined && ledger.entries('start', job.id).length <= failFirst)
    throw new Error('not yet')
  note('finish')
  return result
}

for (const queue of queues) {
  queue.on('error', ((error: Error) => send({ type: 'queueError', message: error.message })) as never)
  for (const what of ['succeeded', 'failed', 'retrying'] as const) {
    queue.on(what, ((job: { id: string }, detail: unknown) =>
      ledger.note({
        what,
        queue: queue.name,
        job: job.id,
        detail: detail instanceof Error ? detail.message : detail,
      })) as never)
  }
  const handler = handlerOf(queue)
  const { lag } = options
  queue.process(options.concurrency ?? 10, (async (job: never, done: never) => {
    if (lag) await new Promise((resolve) => setTimeout(resolve, lag))
    return handler.call(queue, job, done)
  }) as never)
}

function handlerOf(queue: Queue): (this: unknown, job: never, done: never) => unknown {
  const { way = 'track', handOffConcurrency = 50, wrapper } = options
  const handler = (job: ProtectedJob): Promise<unknown> => work(queue, job)
  if (way === 'plain' || way === 'unwrapped') return handler as never
  if (wrapper !== undefined) return wrapped(wrapper, adapter, way, handler as never) as never
  if (way === 'handOff')
    return adapter.handOff(handler as never, { concurrency: handOffConcurrency }) as never
  if (way === 'track') return adapter.track(handler as never) as never
  return adapter.track((job, done) => {
    work(queue, job).then((result) => done(null, result), done)
  }) as never
}

process.on('message', async (message) => {
  if (message === 'stop') {
    await monitor.stop({ drain: options.drain ?? 500 })
    await Promise.all(queues.map((queue) => queue.close()).map((closed) => closed.catch(() => undefined)))
    send({ type: 'stopped' })
    await db.destroy()
    process.disconnect()
  }
  if (message === 'stopMonitor') {
    await monitor.stop({ drain: options.drain ?? 500 })
    send({ type: 'monitorStopped' })
  }
  if (message === 'close') {
    const closing = queues.map((queue) => queue.close(options.drain ?? 500))
    send({ type: 'closed', results: (await Promise.allSettled(closing)).map(({ status }) => status) })
  }
})
if (options.way !== 'plain') await monitor.start()
await Promise.all(queues.map((queue) => queue.ready()))
send({ type: 'ready', processId: monitor.processId })
