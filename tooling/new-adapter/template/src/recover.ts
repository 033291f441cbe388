import { type DecidedJob, type JobOutcome, type RecoveryContext, recoverEach } from '@holdfast/core'
import type { JobPayload } from './payload.js'
import type { MyQueue } from './queue.js'

/** Carries out each decision once. A job that can't be recovered now is answered `failed`, and tried again later. */
export function recoverJobs(
  queue: MyQueue,
  jobs: readonly DecidedJob[],
  context: RecoveryContext,
): Promise<JobOutcome[]> {
  return recoverEach(jobs, context, (job) => recoverJob(queue, job))
}

/**
 * One job. Look first at what the queue holds of it: a job that ended is `finished`, one that waits or runs elsewhere
 * is `alreadyThere`. Else put it back, in one atomic step that is a no-op when it is repeated with this `recoveryId`.
 */
async function recoverJob(queue: MyQueue, { orphan, decision, recoveryId }: DecidedJob): Promise<JobOutcome> {
  const { id } = orphan.payload as JobPayload
  throw new Error(`Not written yet: ${decision.kind} job ${id} of ${queue.name} (${recoveryId}).`)
}
