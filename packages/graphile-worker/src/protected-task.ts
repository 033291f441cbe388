import type { JobHelpers, Task, TaskList } from 'graphile-worker'
import { letGo } from './confirm-held.js'
import { type FetchedJob, readLockedAt } from './fetched-job.js'
import type { Guard } from './guard.js'
import type { GuardedPool } from './guarded-pool.js'
import type { OwnRow } from './own-row.js'
import { type Run, throughPg } from './run.js'
import type { GraphileTables } from './tables.js'
import { type ExhaustedPolicies, type ExhaustedPolicy, policyOf } from './task-options.js'
import { completeRow } from './write-end.js'

/** What the tasks of an adapter share. */
export interface TaskContext {
  readonly guard: Guard
  readonly tables: GraphileTables
  /** Whether the monitor is in graphile-worker's own database. */
  readonly sameDatabase: boolean
  readonly exhausted: ExhaustedPolicies
}

/** A job that a guarded pool has fetched. */
export interface Delivery extends TaskContext {
  readonly pool: GuardedPool
  readonly job: FetchedJob
  readonly helpers: JobHelpers
  /** graphile-worker's connections. */
  readonly run: Run
  readonly onExhausted: ExhaustedPolicy
  /** While it has a row of its own, and is in graphile-worker. */
  own: OwnRow | undefined
  /** It has left graphile-worker: its end is not this delivery's. */
  handedOff: boolean
}

/** What a task resolves with. */
export type Result = Awaited<ReturnType<Task>>

function fetchedJob({ id, locked_by, attempts, locked_at }: JobHelpers['job']): FetchedJob {
  return { id, lockId: String(locked_by), attempts, lockedAt: readLockedAt(locked_at), renewals: 0 }
}

/** Whose a protected task is, and whether the user has wrapped it. */
const PROTECTED = Symbol('holdfast.graphile-worker.protected')

interface Protection {
  readonly guard: Guard
  readonly wrapped: boolean
}

/** What is done with each delivery. */
export interface Protected {
  /** Protects it, and ends it as the handler does. */
  alone(delivery: Delivery, payload: unknown): Promise<Result>
  /**
   * Protects it in its own way instead, from within the handler of a delivery that is under way, as where a user's function
   * around this task was protected in turn. The end is as that function's.
   */
  within(delivery: Delivery, payload: unknown, helpers: JobHelpers): Promise<Result>
  /** Does the work, of which the protection is another's. */
  handler(payload: unknown, helpers: never): unknown
}

/**
 * Makes a task of what is to be done with each delivery.
 *
 * @param plain the task that the adapter's options protect, as pools of others get it; left out where the user wraps it
 */
export function protectedTask(
  context: TaskContext,
  { alone, within, handler }: Protected,
  plain?: Task,
): Task {
  const task: Task = async (payload, helpers) => {
    const { job, query } = helpers
    const pool = context.guard.of(job.locked_by)
    if (pool === undefined) {
      if (plain !== undefined) return plain(payload, helpers)
      throw new Error('A task of an adapter needs its plugin: add `preset: { plugins: [adapter.plugin] }`.')
    }
    const fetched = fetchedJob(job)
    const around = pool.underWay(fetched)
    if (around?.handedOff) return (await handler(payload, helpers as never)) as Result
    if (around !== undefined) {
      await makeWay(around)
      return within(around, payload, helpers)
    }
    const delivery: Delivery = {
      ...{ ...context, pool, helpers, job: fetched, run: throughPg(query as never) },
      ...{ onExhausted: policyOf(context.exhausted, job.task_identifier), own: undefined, handedOff: false },
    }
    if (pool.wasDisowned(fetched)) {
      await letGo(delivery)
      throw new Error(`Job ${fetched.id} was given back before it could begin here.`)
    }
    return pool.running(delivery, () => alone(delivery, payload))
  }
  const protection: Protection = { guard: context.guard, wrapped: plain === undefined }
  return Object.defineProperty(task, PROTECTED, { value: protection })
}

/** Ends the row of the protection around: the one within has its own, and is not kept waiting by it. */
async function makeWay(delivery: Delivery): Promise<void> {
  await delivery.own?.assertOpen()
  await completeRow(delivery)
  delivery.own = undefined
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
