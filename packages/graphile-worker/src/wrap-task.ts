import { setTimeout as delay } from 'node:timers/promises'
import { type TaskHandle, TaskLostError } from '@holdfast/core'
import type { JobHelpers, Task, TaskList } from 'graphile-worker'
import { isFinal, isPassing, isPayloadError } from './errors.js'
import type { Guard } from './guard.js'
import type { GuardedPool } from './guarded-pool.js'
import { giveBackJob, removeJob } from './job-sql.js'
import { linkedSignal } from './linked-signal.js'
import { failureOf, type StartedPayload } from './payloads.js'

/** Tasks that protect each of their jobs themselves. */
const HANDS_OFF = Symbol.for('holdfast.graphile-worker.hands-off')

export function markHandOff(task: Task): Task {
  return Object.defineProperty(task, HANDS_OFF, { value: true })
}

export interface WrapContext {
  readonly guard: Guard
  readonly schema: string
  /** The wrappers of this guard, so that each task is wrapped once. */
  readonly wrapped: WeakSet<Task>
}

/**
 * Wraps the tasks of a list in place.
 *
 * @throws TypeError when the list is frozen
 */
export function wrapTasks(tasks: TaskList, context: WrapContext): void {
  for (const [identifier, task] of Object.entries(tasks)) {
    if (task === undefined || HANDS_OFF in task || context.wrapped.has(task)) continue
    const wrapper = guardedTask(task, context)
    context.wrapped.add(wrapper)
    tasks[identifier] = wrapper
  }
}

/**
 * graphile-worker's completion is not fenced, its failure is: so a handler whose process was declared dead meanwhile
 * must throw, whatever it returned. The job then stays with whoever has it now.
 */
function guardedTask(task: Task, { guard, schema }: WrapContext): Task {
  return async (payload, helpers) => {
    const pool = guard.of(helpers.job.locked_by)
    if (pool === undefined) return task(payload, helpers)
    const held = await pool.task
    const mark = await orGiveBack(pool, helpers, schema, async () =>
      pool.marksStarts ? guard.register(pool, helpers.job.id, startOf(helpers)) : undefined,
    )
    pool.noteBegun(helpers.job.id)
    // A task that listens also hears that its process is no longer believed alive, or shall end.
    const abort = linkedSignal(helpers.abortSignal, pool.jobSignal)
    let result: Awaited<ReturnType<Task>>
    let failed: boolean
    try {
      result = await task(payload, { ...helpers, abortSignal: abort.signal })
      failed = await failsInPart(payload, result)
    } catch (error) {
      // While the database is away graphile-worker can't write a failure down, and ends the process over it.
      await held.confirm()
      await releaseFailed(mark, helpers, error)
      throw error
    } finally {
      abort.unlink()
    }
    await held.confirm()
    if (!failed) {
      // In a named queue the late completion of a zombie would leave the queue locked for ever; and a marked job must
      // be gone before its mark.
      if (mark !== undefined || helpers.job.job_queue_id !== null) await removeFenced(helpers, schema, held)
      pool.noteFinished(helpers.job.id)
    }
    await mark?.complete()
    return result
  }
}

/** Whether some entries of a batch job failed: which of them are tried again is graphile-worker's to write. */
async function failsInPart(payload: unknown, result: Awaited<ReturnType<Task>>): Promise<boolean> {
  if (!Array.isArray(payload) || !Array.isArray(result)) return false
  const entries = await Promise.allSettled(result)
  return entries.some(({ status }) => status === 'rejected')
}

const startOf = ({ job }: JobHelpers): StartedPayload => ({
  kind: 'started',
  jobId: job.id,
  lockId: String(job.locked_by),
})

/**
 * Runs what comes before a handler begins. While the database is away it is tried again; where it fails otherwise the
 * job is given back with its attempt. Only what is the job's own fault is graphile-worker's to fail.
 */
export async function orGiveBack<T>(
  pool: GuardedPool,
  helpers: JobHelpers,
  schema: string,
  before: () => Promise<T>,
): Promise<T> {
  const held = await pool.task
  for (;;) {
    try {
      await held.confirm()
      return await before()
    } catch (error) {
      if (isPayloadError(error)) throw error
      if (isPassing(error) && !pool.closing.aborted) {
        await delay(RETRY)
        continue
      }
      // Declared dead or stopped, the pool closes. After that none of its workers fetches the job again before the
      // failure that follows is written.
      if (isFinal(error)) await pool.closed
      await patiently(() => giveBackJob(helpers, schema))
      throw error
    }
  }
}

/** Repeats `work` for a while, since a database that is away comes back. */
async function patiently(work: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await work()
    } catch (error) {
      if (tries >= MAX_TRIES) throw error
      await delay(RETRY)
    }
  }
}

/** The failure is written with the end of the mark: between the two the job would look as if it had not begun. */
async function releaseFailed(
  mark: TaskHandle | undefined,
  helpers: JobHelpers,
  error: unknown,
): Promise<void> {
  try {
    await mark?.release({ payload: { ...startOf(helpers), failure: failureOf(error) } })
  } catch (failure) {
    if (!TaskLostError.is(failure)) throw failure
  }
}

const MAX_TRIES = 30

/** Milliseconds between tries while the database is away. */
const RETRY = 500

/** Removes the finished job from graphile-worker, through a database outage if need be. */
async function removeFenced(helpers: JobHelpers, schema: string, held: TaskHandle): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      // After a try of unknown outcome a missing row means that it had been done: we are still alive, so nobody else
      // could have taken it.
      if ((await removeJob(helpers, schema)) || tries > 1) return
    } catch (error) {
      if (tries >= MAX_TRIES) throw error
      await delay(RETRY)
      await held.confirm()
      continue
    }
    throw new Error(`Job ${helpers.job.id} is no longer locked by this worker: its result is discarded.`)
  }
}
