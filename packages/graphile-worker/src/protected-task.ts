import type { JobHelpers, Task, TaskList } from 'graphile-worker'
import { type FetchedJob, readLockedAt } from './fetched-job.js'
import type { Guard } from './guard.js'
import type { GuardedPool } from './guarded-pool.js'
import { type Run, throughPg } from './run.js'
import type { GraphileTables } from './tables.js'

/** What the tasks of an adapter share. */
export interface TaskContext {
  readonly guard: Guard
  readonly tables: GraphileTables
  /** Whether the monitor is in graphile-worker's own database. */
  readonly sameDatabase: boolean
}

/** A job that a guarded pool has fetched. */
export interface Delivery extends TaskContext {
  readonly pool: GuardedPool
  readonly job: FetchedJob
  readonly helpers: JobHelpers
  /** graphile-worker's connections. */
  readonly run: Run
}

function fetchedJob({ id, locked_by, attempts, locked_at }: JobHelpers['job']): FetchedJob {
  return { id, lockId: String(locked_by), attempts, lockedAt: readLockedAt(locked_at), renewals: 0 }
}

/** Whose a protected task is, and whether the user has wrapped it. */
const PROTECTED = Symbol('holdfast.graphile-worker.protected')

interface Protection {
  readonly guard: Guard
  readonly wrapped: boolean
}

/**
 * Makes a task of what is to be done with each delivery.
 *
 * @param plain the task that the adapter's options protect, as pools of others get it; left out where the user wraps it
 */
export function protectedTask(
  context: TaskContext,
  handle: (delivery: Delivery, payload: unknown) => Promise<Awaited<ReturnType<Task>>>,
  plain?: Task,
): Task {
  const task: Task = (payload, helpers) => {
    const { job } = helpers
    const pool = context.guard.of(job.locked_by)
    if (pool === undefined) {
      if (plain !== undefined) return plain(payload, helpers)
      throw new Error('A task of an adapter needs its plugin: add `preset: { plugins: [adapter.plugin] }`.')
    }
    const fetched = fetchedJob(job)
    const run = throughPg(helpers.query as never)
    return pool.running(fetched, () => handle({ ...context, pool, job: fetched, helpers, run }, payload))
  }
  const protection: Protection = { guard: context.guard, wrapped: plain === undefined }
  return Object.defineProperty(task, PROTECTED, { value: protection })
}

/**
 * Protects the tasks of a list in place.
 *
 * @param named tasks that have options of their own, which those that the user has wrapped already can't have
 * @throws Error when the list is frozen, or a task is wrapped and named
 */
export function protectTasks(
  tasks: TaskList,
  guard: Guard,
  named: ReadonlySet<string>,
  protect: (task: Task, identifier: string) => Task,
): void {
  for (const [identifier, task] of Object.entries(tasks)) {
    if (task === undefined) continue
    const quoted = JSON.stringify(identifier)
    const by = (task as { readonly [PROTECTED]?: Protection })[PROTECTED]
    if (by?.guard !== guard) {
      if (Reflect.set(tasks, identifier, protect(task, identifier))) continue
      throw new Error(
        `The task list is frozen, so ${quoted} can't be protected in it: pass a copy, { ...taskList }.`,
      )
    }
    if (by.wrapped && named.has(identifier)) {
      throw new Error(
        `Task ${quoted} is wrapped by the adapter and named in its option \`tasks\`: choose one.`,
      )
    }
  }
}
