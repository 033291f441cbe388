import type { TaskHandle } from '@holdfast/core'
import type { BossJob } from './boss.js'

/** A job as the handler of `adapter.track()` gets it. */
export type TrackedJob<Job extends BossJob = BossJob> = Job & {
  /** Aborts when the work should end: with the task's signal, and on pg-boss 12 with the job's own. */
  readonly signal: AbortSignal
  /** Complete it with `{ trx }` to commit your effects and the end of the job together. */
  readonly task: TaskHandle
}

export function trackedJob<Job extends BossJob>(job: Job, task: TaskHandle): TrackedJob<Job> {
  const { signal } = job as { readonly signal?: AbortSignal }
  return { ...job, task, signal: signal === undefined ? task.signal : AbortSignal.any([task.signal, signal]) }
}
