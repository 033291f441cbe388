import type { Task, TaskList, WorkerPool } from 'graphile-worker'
import type { Guard } from './guard.js'
import { protectTasks } from './protected-task.js'
import { throughPg } from './run.js'
import { version } from './version.js'

export interface PluginParts {
  readonly guard: Guard
  readonly schema: string
  /** Tasks that have options of their own. */
  readonly named: ReadonlySet<string>
  protect(task: Task, identifier: string): Task
}

/** What hooks get from every version of graphile-worker that is supported. */
interface PluginContext {
  readonly version: string
  readonly workerSchema: string
  readonly events: GraphileWorkerEvents
  readonly logger: { error(message: string): void; warn(message: string): void }
  readonly resolvedPreset: {
    readonly worker?: {
      readonly localQueue?: { readonly size?: number }
      readonly failJobBatchDelay?: number
    }
  }
  readonly _rawOptions?: { readonly workerId?: string }
}

interface GraphileWorkerEvents {
  on(name: string, listener: (event: WorkerEvent) => void): unknown
}

interface GraphileWorker {
  readonly workerId: string
  readonly workerPool: WorkerPool
}

interface WorkerEvent {
  readonly workerPool: WorkerPool
  readonly worker: GraphileWorker
}

type PgClient = { query(text: string, values: unknown[]): Promise<{ rows: unknown[] }> }

interface StartWorkerEvent {
  readonly worker: GraphileWorker
  readonly tasks: TaskList
  withPgClient<T>(work: (client: PgClient) => Promise<T>): Promise<T>
}

/** What tells that graphile-worker may be unable to write the end of a job. */
const DOUBTS = ['pool:listen:error', 'worker:getJob:error', 'worker:fatalError', 'pool:fatalError'] as const

/** The graphile plugin that guards every worker pool it is given to; nothing changes in the user's tasks. */
export function guardPlugin({ guard, schema, named, protect }: PluginParts): GraphileConfig.Plugin {
  return {
    name: 'HoldfastGuardPlugin',
    version,
    worker: {
      hooks: {
        init(ctx: PluginContext) {
          // What is thrown here graphile-worker only logs: workers find their pool unprotected, and don't start.
          const problem = problemOf(ctx, schema)
          if (problem !== undefined) throw new Error(problem)
          watch(ctx, guard)
        },
        async startWorker(ctx: PluginContext, { worker, tasks, withPgClient }: StartWorkerEvent) {
          try {
            const problem = problemOf(ctx, schema)
            if (problem !== undefined) throw new Error(problem)
            protectTasks(tasks, guard, named, protect)
            const guarded = await guard.ready(worker.workerPool)
            guarded.run ??= throughPg((text, values) => withPgClient((client) => client.query(text, values)))
          } catch (error) {
            // A worker whose start fails would go on without us: unprotected and unfenced.
            const message = `Holdfast could not protect this worker: ${String(error)}`
            ctx.logger.error(message)
            Promise.resolve(worker.workerPool.gracefulShutdown(message)).catch(() => undefined)
            throw error
          }
        },
        // Awaited before the pool ends, and with it the connections that handed-off work may still use.
        stopWorker: (_ctx: PluginContext, { worker }: { worker: GraphileWorker }) =>
          guard.drain(worker.workerPool),
      },
    },
  } as GraphileConfig.Plugin
}

function watch({ events, logger, resolvedPreset, version: graphile }: PluginContext, guard: Guard): void {
  const { localQueue, failJobBatchDelay = 0 } = resolvedPreset.worker ?? {}
  const marksStarts = (localQueue?.size ?? -1) > 0
  const report = (error: unknown): void => logger.error(`Holdfast: ${String(error)}`)
  events.on('pool:create', ({ workerPool }) => {
    if (!guard.running) logger.warn('Holdfast: no job is taken before `await monitor.start()`.')
    guard.protect(workerPool, marksStarts, failJobBatchDelay)
  })
  if (locksByWorker(graphile)) {
    events.on('worker:create', ({ worker }) => guard.ofPool(worker.workerPool)?.lockIds.add(worker.workerId))
  }
  events.on('pool:gracefulShutdown', ({ workerPool }) => guard.ofPool(workerPool)?.close())
  events.on('pool:forcefulShutdown', ({ workerPool }) => guard.ofPool(workerPool)?.close())
  events.on('pool:release', ({ workerPool }) => void guard.end(workerPool).catch(report))
  events.on('worker:getJob:error', ({ worker }) => guard.ofPool(worker.workerPool)?.fetchFailed())
  for (const name of DOUBTS) {
    events.on(name, ({ workerPool, worker }) => {
      const guarded = guard.ofPool(workerPool ?? worker.workerPool)
      if (guarded !== undefined) guarded.doubtful = true
    })
  }
  events.on('worker:stop', ({ worker: { workerPool } }) => setImmediate(() => endWithoutWorkers(workerPool)))

  /** A pool that has lost all its workers would go on for ever, and do nothing. */
  function endWithoutWorkers(pool: WorkerPool): void {
    const { _workers: workers, _shuttingDown: ends, _active: active } = pool
    if (workers.length > 0 || ends || !active) return
    const message = 'Holdfast: all workers of this pool have died, so it is shut down'
    logger.error(message)
    Promise.resolve(pool.gracefulShutdown(message)).catch(() => undefined)
  }
}

function problemOf(
  { version: graphile, workerSchema, _rawOptions }: PluginContext,
  schema: string,
): string | undefined {
  if (workerSchema !== schema) {
    return (
      `Holdfast's adapter recovers jobs in the schema "${schema}", but this worker runs on "${workerSchema}": pass ` +
      `{ schema: '${workerSchema}' } to graphileWorkerAdapter.`
    )
  }
  const workerId = _rawOptions?.workerId
  if (workerId === undefined || !locksByWorker(graphile)) return undefined
  return (
    `graphile-worker ${graphile} locks jobs by workerId, so with a fixed one (${workerId}) the locks of a process can't be ` +
    'told from those of the one before it: leave workerId out.'
  )
}

/** Since 0.17 by pool. */
const locksByWorker = (graphile: string): boolean => {
  const [major, minor] = graphile.split('.').map(Number)
  return major === 0 && minor! < 17
}
