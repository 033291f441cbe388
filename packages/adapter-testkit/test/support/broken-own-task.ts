import { until } from '@holdfast/chaos'
import type { Monitor, QueueAdapter, TaskHandle } from '@holdfast/core'
import type { Deed, Work } from '../../src/index.js'
import type { MemoryAdapter, MemoryHandler, MemoryJob, MemoryQueue } from '../../src/memory/index.js'

/** A run of a job that does something to its task, and what a fault may use. */
interface Run {
  readonly job: MemoryJob
  readonly task: TaskHandle
  readonly monitor: Monitor
  readonly queue: MemoryQueue
  /** The handler; rejects as that does. */
  handle(task?: TaskHandle): Promise<unknown>
}

type Parts = Pick<MemoryAdapter, 'track' | 'handOff' | 'onStart'>

const dataOf = ({ data }: MemoryJob): Work => data as Work

/** Remembers the monitor that an adapter was started with. */
function started(adapter: MemoryAdapter): {
  monitor(): Monitor
  onStart: NonNullable<QueueAdapter['onStart']>
} {
  let monitor: Monitor | undefined
  return {
    monitor: () => monitor!,
    onStart(given) {
      monitor = given
      return adapter.onStart?.(given)
    },
  }
}

/** A fault in what comes of these deeds alone. */
const inRuns =
  (deeds: readonly Deed[], run: (run: Run) => Promise<unknown>) =>
  (adapter: MemoryAdapter, queue: MemoryQueue): Parts => {
    const { monitor, onStart } = started(adapter)
    const seen = new Set<string>()
    const broken =
      (handler: MemoryHandler): MemoryHandler =>
      (job, task) => {
        const handle = (given = task): Promise<unknown> => handler(job, given)
        const isMeant = deeds.includes(dataOf(job).deed!) && !seen.has(job.id)
        seen.add(job.id)
        return isMeant ? run({ job, task, monitor: monitor(), queue, handle }) : handle()
      }
    return {
      onStart,
      track: (handler) => adapter.track(broken(handler)),
      handOff: (handler) => adapter.handOff(broken(handler)),
    }
  }

const jobOf = async (queue: MemoryQueue, id: string): Promise<MemoryJob> =>
  (await queue.list()).find((job) => job.id === id)!

/** The run that a job is in after this one. */
const nextRun = ({ queue, job }: Run): Promise<MemoryJob> =>
  until(async () => {
    const now = await jobOf(queue, job.id)
    return now.state === 'active' && now.token !== job.token ? now : undefined
  })

/** Goes by what was asked of the task, not by what came of it. */
const takenAtItsWord = async ({ handle, task }: Run): Promise<void> => {
  await handle().catch((error) => {
    if (task.open) throw error
  })
}

/** A task that never says that it was ended before. */
const deaf = (task: TaskHandle): TaskHandle =>
  new Proxy(task, {
    get(target, member) {
      if (member === 'complete')
        return (...args: Parameters<TaskHandle['complete']>) =>
          target.complete(...args).catch(() => undefined)
      const value = Reflect.get(target, member, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })

/** Registers what a wrapped handler is called with, as it is not known to register by itself. */
const registersTheWrapped =
  (jobRefOf: (job: MemoryJob) => { readonly jobRef?: string }) =>
  (adapter: MemoryAdapter, queue: MemoryQueue): Parts => {
    const { monitor, onStart } = started(adapter)
    const known = new Set<unknown>()
    const remember = <Protected>(protectedHandler: Protected): Protected => {
      known.add(protectedHandler)
      return protectedHandler
    }
    const work = queue.work.bind(queue)
    queue.work = (concurrency, deliver) => work(concurrency, known.has(deliver) ? deliver : twice(deliver))
    const twice = (deliver: (job: MemoryJob) => Promise<void>) => async (job: MemoryJob) => {
      const payload = { kind: 'track', job }
      const outer = await monitor().register({ queue: adapter.name, payload, ...jobRefOf(job) })
      await deliver(job)
      await outer.complete().catch(() => undefined)
    }
    return {
      onStart,
      track: (handler) => remember(adapter.track(handler)),
      handOff: (handler) => remember(adapter.handOff(handler)),
    }
  }

/** Does this to all that runs when the drain of a stop is over. */
const atStop =
  (end: (queue: MemoryQueue, job: MemoryJob) => Promise<unknown>) =>
  (adapter: MemoryAdapter, queue: MemoryQueue): Pick<MemoryAdapter, 'track' | 'onStop'> => {
    const running = new Set<MemoryJob>()
    return {
      track: (handler) => {
        const tracked = adapter.track(handler)
        return async (job) => {
          running.add(job)
          await tracked(job)
          running.delete(job)
        }
      },
      async onStop(monitor, signal) {
        signal.addEventListener('abort', () => {
          for (const job of running) void end(queue, job)
        })
        await adapter.onStop?.(monitor, signal)
      },
    }
  }

/** As adapters get a task wrong that a handler is given. */
export const ownTaskFaults = {
  'takes what rolled back for ended': inRuns(['rolls back'], takenAtItsWord),
  'fails what ended by itself, as an end of it rolled back': inRuns(
    ['rolls back, unnoticed'],
    async ({ handle, task }) => {
      await handle()
      if (!task.open) throw new Error('its transaction has rolled back')
    },
  ),
  'takes a commit that failed for one': inRuns(['fails to commit'], takenAtItsWord),
  'ends what a transaction may still end': inRuns(['leaves open'], async ({ handle, queue, job }) => {
    await handle()
    await queue.complete(job)
  }),
  'tries again what committed late': inRuns(
    ['leaves open, then throws'],
    ({ handle, monitor, task, queue, job }) =>
      handle().catch(async (error) => {
        if ((await monitor.settle(task)) === 'completed') await queue.fail(job, String(error))
        throw error
      }),
  ),
  'takes what rolled back late for ended': inRuns(
    ['leaves open, then throws'],
    async ({ handle, monitor, task }) => {
      await handle().catch(() => monitor.settle(task))
    },
  ),
  'tries again what threw after its commit': inRuns(['commits, then throws'], ({ handle, queue, job }) =>
    handle().catch(async (error) => {
      await queue.fail(job, String(error))
      throw error
    }),
  ),
  'keeps silent of what was thrown after a commit': inRuns(['commits, then throws'], ({ handle }) =>
    handle().catch(() => undefined),
  ),
  'hides that a second end was refused': inRuns(
    ['completes twice', 'completes twice in a transaction', 'releases, then completes'],
    ({ handle, task }) => handle(deaf(task)),
  ),
  'ends a job that was released': inRuns(['releases'], async (run) => {
    await run.handle()
    await run.queue.complete(await nextRun(run))
  }),
  'fails a job that was released': inRuns(['releases, then throws'], (run) =>
    run.handle().catch(async (error) => {
      await run.queue.fail(await nextRun(run), String(error))
      throw error
    }),
  ),
  'keeps the place of what rolled back': (adapter: MemoryAdapter) => ({
    track: (handler: MemoryHandler) => {
      const tracked = adapter.track(handler)
      return async (job: MemoryJob) => {
        await tracked(job)
        if (dataOf(job).deed === 'rolls back') await new Promise(() => undefined)
      }
    },
  }),
  'gives back at a stop what a transaction may still end': atStop((queue, job) => queue.release(job)),
  'ends at a stop what a transaction may still end': atStop((queue, job) => queue.complete(job)),
  'registers a wrapped handler’s jobs twice': registersTheWrapped(() => ({})),
  'has a wrapped suspect wait for itself': registersTheWrapped(({ id }) => ({ jobRef: id })),
  'brings back what had committed': (adapter: MemoryAdapter, queue: MemoryQueue) => {
    const { monitor, onStart } = started(adapter)
    return {
      onStart,
      // A second row, of which its handler knows nothing.
      handOff: (handler: MemoryHandler) =>
        adapter.handOff(async (job, task) => {
          const second = await monitor().register({ queue: adapter.name, payload: { second: job.id } })
          await handler(job, task).finally(() => second.complete().catch(() => undefined))
        }),
      recover: (async (jobs, context) => {
        const secondOf = ({ orphan }: (typeof jobs)[number]) => (orphan.payload as { second?: string }).second
        for (const job of jobs) {
          const second = secondOf(job)
          if (second !== undefined) await queue.restore(await jobOf(queue, second), job.recoveryId)
        }
        const others = jobs.filter((job) => secondOf(job) === undefined)
        const outcomes = [...(await adapter.recover(others, context))]
        return jobs.map((job) => (others.includes(job) ? outcomes.shift()! : { kind: 'finished' }))
      }) satisfies QueueAdapter['recover'],
    }
  },
} satisfies Record<string, (adapter: MemoryAdapter, queue: MemoryQueue) => Partial<MemoryAdapter>>
