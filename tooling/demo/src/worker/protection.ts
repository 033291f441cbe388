import { TaskMonitor } from '@holdfast/core'
import { graphileWorkerAdapter } from '@holdfast/graphile-worker'
import type { RunnerOptions, TaskList } from 'graphile-worker'
import { TASKS } from '../database/enqueue.js'
import { CONCURRENCY, MONITOR } from '../settings.js'
import { handOffHandler, ordinaryTask, type Work } from './tasks.js'

/** What differs between a worker with Holdfast and one without. */
export interface Protection {
  readonly taskList: TaskList
  readonly preset: NonNullable<RunnerOptions['preset']>
  readonly concurrency: number
  readonly monitor: TaskMonitor | undefined
}

/** This is all there is to do to use Holdfast with graphile-worker. */
export async function withHoldfast(
  work: Omit<Work, 'processId'>,
  label: string,
  trouble: (text: string) => void,
): Promise<Protection> {
  const adapter = graphileWorkerAdapter()
  const monitor = new TaskMonitor({ db: work.db, adapters: [adapter], label, ...MONITOR })
  monitor.on('leaseExpired', () => trouble('could not reach the database in time: its lease has expired'))
  monitor.on('evicted', () => trouble('was declared dead: this machine paused it for too long'))
  await monitor.start()
  const own = { ...work, processId: () => monitor.processId }
  return {
    taskList: {
      [TASKS.guard]: ordinaryTask(own),
      [TASKS.handOff]: adapter.handOff(handOffHandler(own), { concurrency: CONCURRENCY.handOff }),
    },
    preset: { plugins: [adapter.plugin] },
    concurrency: CONCURRENCY.guard,
    monitor,
  }
}

/** The same jobs and as many of them at once; there is no hand-off, so all are ordinary tasks. */
export function withoutHoldfast(work: Omit<Work, 'processId'>): Protection {
  const task = ordinaryTask({ ...work, processId: () => null })
  return {
    taskList: { [TASKS.guard]: task, [TASKS.handOff]: task },
    preset: {},
    concurrency: CONCURRENCY.guard + CONCURRENCY.handOff,
    monitor: undefined,
  }
}
