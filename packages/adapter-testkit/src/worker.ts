// The side of the kit that runs in a worker's process.
import { childOptions, connect, Ledger } from '@holdfast/chaos'
import { type QueueAdapter, type TaskHandle, TaskMonitor, type TaskMonitorOptions } from '@holdfast/core'
import type { Kysely } from 'kysely'
import type { HandlerParts } from './deeds.js'
import { dieAtWrite } from './die-at-write.js'
import type { Way, Work } from './setup.js'
import { doWork } from './work.js'

export type { Way, Work } from './setup.js'

/** What a worker's process is told. */
// biome-ignore lint/suspicious/noExplicitAny: JSON
export interface WorkerContext<Options = any> {
  /** The monitor's database. */
  // biome-ignore lint/suspicious/noExplicitAny: any schema
  readonly db: Kysely<any>
  /** Its URL. */
  readonly url: string
  /** What `setup()` answered as `options`. */
  readonly options: Options
  readonly way: Way
  /** How many jobs it must be able to run at once. */
  readonly concurrency: number
  /**
   * The handler of every job: `data` as the queue delivered it, and the signal and the task that the adapter gives to
   * handlers.
   */
  handler(data: unknown, signal?: AbortSignal, task?: TaskHandle): Promise<void>
  /** What users may put around a protected handler, between the adapter and the queue: every one is to go through this. */
  wrap<Handler extends (...args: never[]) => unknown>(handler: Handler): Handler
}

/** A worker that is ready to work. */
export interface ReadyWorker {
  readonly adapter: QueueAdapter
  /** Begins to take jobs. Called when the monitor has started; resolves when added jobs will be taken. */
  work(): void | Promise<void>
  /** Called when the monitor has stopped: waits for runs that the queue has to hear the end of. The process must then end by itself. */
  close?(): void | Promise<void>
}

interface WorkerOptions {
  readonly url: string
  readonly ledger: string
  readonly way: Way
  readonly concurrency: number
  readonly options: unknown
  readonly monitor: Partial<TaskMonitorOptions>
  readonly wrapped: boolean
  /** Takes no jobs. */
  readonly idle: boolean
}

type Message =
  | { readonly type: 'stop'; readonly drain: number }
  | { readonly type: 'sweep'; readonly dieAtWrite?: number }

/** Runs the process of a worker: the whole of a kit's worker module. */
// biome-ignore lint/suspicious/noExplicitAny: JSON
export async function runWorker<Options = any>(
  start: (context: WorkerContext<Options>) => ReadyWorker | Promise<ReadyWorker>,
): Promise<void> {
  const {
    url,
    ledger: folder,
    way,
    concurrency,
    options,
    monitor: times,
    wrapped,
    idle,
  }: WorkerOptions = childOptions()
  const ledger = new Ledger(folder)
  const db = connect(url, 4)
  // Of the handlers' own, since they may keep each of them.
  const parts: HandlerParts = { ledger, url, db: connect(url, concurrency), leftOpen: [] }
  const worker = await start({
    ...{ db, url, options: options as Options, way, concurrency },
    handler: (data, signal, task) => doWork(parts, data as Work, { signal, task }),
    wrap: (handler) => (wrapped ? (((...args) => handler(...args)) as typeof handler) : handler),
  })
  const logger = { warn: () => undefined, error: (text: string) => console.error(text) }
  // As a function, so that no row has a policy by name and the areas' recoverers decide.
  const onCrash = () => 'requeue' as const
  const monitor = new TaskMonitor({
    db,
    adapters: [tellingOfStop(worker.adapter)],
    logger,
    ...times,
    onCrash,
  })
  process.on('message', async (message: Message) => {
    if (message.type === 'sweep') {
      if (message.dieAtWrite !== undefined) dieAtWrite(message.dieAtWrite)
      await monitor.cleanupOrphanedTasks()
      process.send?.({ type: 'swept' })
      return
    }
    await monitor.stop({ drain: message.drain })
    process.send?.({ type: 'handedOver' })
    await worker.close?.()
    await Promise.all(parts.leftOpen)
    await db.destroy()
    await parts.db.destroy()
    process.send?.({ type: 'stopped' })
    process.disconnect()
  })
  await monitor.start()
  process.send?.({ type: 'registered', processId: monitor.processId })
  if (!idle) await worker.work()
  process.send?.({ type: 'ready' })
}

/**
 * Tells when the adapter has been told to take no more jobs, and says that it has done so; at the end of the drain where it
 * waits for handlers before it says so.
 */
function tellingOfStop(adapter: QueueAdapter): QueueAdapter {
  return Object.freeze<QueueAdapter>({
    ...adapter,
    async onStop(monitor, signal) {
      const tell = (): void => void process.send?.({ type: 'stopping' })
      signal.addEventListener('abort', tell)
      await adapter.onStop?.(monitor, signal)
      signal.removeEventListener('abort', tell)
      if (!signal.aborted) tell()
    },
  })
}
