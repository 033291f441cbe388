import type { Task, TaskList, WorkerPool } from 'graphile-worker'
import type { Guard } from './guard.js'
import { version } from './version.js'
import { wrapTasks } from './wrap-task.js'

export interface PluginParts {
  readonly guard: Guard
  readonly schema: string
}

/** What hooks get from every version of graphile-worker that is supported. */
interface PluginContext {
  readonly workerSchema: string
  readonly events: GraphileWorkerEvents
  readonly logger: { error(message: string): void; warn(message: string): void }
  readonly resolvedPreset: { readonly worker?: { readonly localQueue?: { readonly size?: number } } }
}

interface GraphileWorkerEvents {
  on(name: string, listener: (event: { workerPool: WorkerPool }) => void): unknown
}

interface StartWorkerEvent {
  readonly worker: { readonly workerPool: WorkerPool }
  readonly tasks: TaskList
}

/** The graphile plugin that guards every worker pool it is given to; nothing changes in the user's tasks. */
export function guardPlugin({ guard, schema }: PluginParts): GraphileConfig.Plugin {
  const wrapped = new WeakSet<Task>()
  return {
    name: 'HoldfastGuardPlugin',
    version,
    worker: {
      hooks: {
        init(ctx: PluginContext) {
          if (ctx.workerSchema !== schema) {
            throw new Error(
              `Holdfast's adapter recovers jobs in the schema "${schema}", but this worker runs on ` +
                `"${ctx.workerSchema}": pass { schema: '${ctx.workerSchema}' } to graphileWorkerAdapter.`,
            )
          }
          const marksStarts = (ctx.resolvedPreset.worker?.localQueue?.size ?? -1) > 0
          const report = (error: unknown): void => ctx.logger.error(`Holdfast: ${String(error)}`)
          ctx.events.on('pool:create', ({ workerPool }) => {
            if (!guard.running) ctx.logger.warn('Holdfast: no job is taken before `await monitor.start()`.')
            guard.protect(workerPool, marksStarts)
          })
          ctx.events.on('pool:gracefulShutdown', ({ workerPool }) => guard.close(workerPool))
          ctx.events.on('pool:forcefulShutdown', ({ workerPool }) => guard.close(workerPool))
          ctx.events.on('pool:release', ({ workerPool }) => void guard.end(workerPool).catch(report))
        },
        async startWorker(ctx: PluginContext, { worker, tasks }: StartWorkerEvent) {
          try {
            wrapTasks(tasks, { guard, schema, wrapped })
            await guard.ready(worker.workerPool)
          } catch (error) {
            // A worker whose start fails would go on without us: unprotected and unfenced.
            const message = `Holdfast could not protect this worker: ${String(error)}`
            ctx.logger.error(message)
            Promise.resolve(worker.workerPool.gracefulShutdown(message)).catch(() => undefined)
            throw error
          }
        },
        // Awaited before the pool ends, and with it the connections that handed-off work may still use.
        stopWorker: (_ctx: PluginContext, { worker }: { worker: StartWorkerEvent['worker'] }) =>
          guard.drain(worker.workerPool),
      },
    },
  } as GraphileConfig.Plugin
}
