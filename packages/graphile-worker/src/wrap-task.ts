import type { JobHelpers, Task, TaskList } from 'graphile-worker'
import type { Guard } from './guard.js'

/** Tasks that protect each job by themselves, and tasks that are wrapped already. */
const PROTECTED = Symbol.for('holdfast.graphile-worker.protected')

type ProtectedTask = Task & { [PROTECTED]?: true }

export function markProtected(task: Task): Task {
  return Object.defineProperty(task, PROTECTED, { value: true })
}

/**
 * Wraps the tasks of a list in place, each once.
 *
 * @throws TypeError when the list is frozen
 */
export function wrapTasks(tasks: TaskList, guard: Guard): void {
  for (const [identifier, task] of Object.entries(tasks)) {
    if (task !== undefined && (task as ProtectedTask)[PROTECTED] !== true)
      tasks[identifier] = guarded(task, guard)
  }
}

/**
 * graphile-worker's completion is not fenced, its failure is: so a handler whose process was declared dead meanwhile
 * must throw, whatever it returned. The job then stays with whoever has it now.
 */
function guarded(task: Task, guard: Guard): Task {
  return markProtected(async (payload, helpers: JobHelpers) => {
    const { id, locked_by: lockId } = helpers.job
    // The task of now: after an eviction the pool gets a new one, which says nothing about this job.
    const held = await guard.taskOf(lockId)
    await held?.confirm()
    const started =
      lockId !== null && guard.marksStarts(lockId) ? await guard.markStart(id, lockId) : undefined
    try {
      return await task(payload, helpers)
    } finally {
      // Also after a failure: while the database is away graphile-worker can't even write that down, and ends the
      // process over it.
      await held?.confirm()
      await started?.complete()
    }
  })
}
