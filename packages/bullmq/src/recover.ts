import { type DecidedJob, type JobOutcome, type RecoveryContext, recoverEach } from '@holdfast/core'
import type { Job, WorkerOptions } from 'bullmq'
import { isLost, keysOf, type QueueInternals, unrecoverable } from './bullmq.js'
import { type EndedRun, type FailureSettings, jobRefOf, otherId, recoveryToken } from './payloads.js'
import { take } from './take.js'

/** Carries out each decision: one script takes the job, a command of BullMQ's moves it on. */
export function recoverJobs(
  queues: readonly QueueInternals[],
  jobs: readonly DecidedJob[],
  context: RecoveryContext,
): Promise<JobOutcome[]> {
  return recoverEach(jobs, context, (job) => recoverJob(queues, job))
}

/** @throws Error when the adapter has no such queue */
export function queueOf(queues: readonly QueueInternals[], keys: string): QueueInternals {
  const queue = queues.find((candidate) => keysOf(candidate) === keys)
  if (queue !== undefined) return queue
  throw new Error(
    `No queue with the keys ${JSON.stringify(`${keys}*`)} in this process: give bullmqAdapter() the same queues ` +
      'everywhere, or a name of its own for each set of queues.',
  )
}

async function recoverJob(
  queues: readonly QueueInternals[],
  { orphan, detail, decision, recoveryId }: DecidedJob,
): Promise<JobOutcome> {
  const run = (detail ?? orphan.payload) as EndedRun
  const queue = queueOf(queues, run.keys)
  const fails = decision.kind === 'quarantine'
  const token = recoveryToken(recoveryId)
  const [answer, id] = await take(queue, run, {
    purpose: fails ? 'fail' : orphan.cause === 'retry' ? 'retry' : 'requeue',
    token,
    marker: recoveryId,
    otherId: otherId(run.id, recoveryId),
    ...(fails ? { reason: decision.reason } : {}),
  })
  if (answer === 'there') return { kind: 'alreadyThere' }
  if (answer === 'finished' || answer === 'superseded') return { kind: answer }
  if (answer === 'busy')
    throw new Error(`Job ${id} has just been fetched again; it is left to its worker for now.`)
  if (answer === 'taken') {
    const job = await queue.getJob(id)
    // Removed in between: somebody wanted that.
    if (job === undefined) return { kind: 'finished' }
    if (run.settings !== undefined) endAs(job, run.settings)
    await move(job, token, decision)
  }
  if (fails) return { kind: 'quarantined' }
  return { kind: 'requeued', jobRef: jobRefOf({ ...run, id }) }
}

/** Has a job end as its own worker would have it. */
export function endAs(job: Job, settings: WorkerOptions | FailureSettings): void {
  // In 6 its backend knows the options, in 5 its scripts do.
  const part = ('backend' in job ? 'backend' : 'scripts') as never
  const commands: { queue: { opts: object } } = job[part]
  const opts = { ...commands.queue.opts, ...settings }
  const queue = Object.create(commands.queue, { opts: { value: opts } })
  job[part] = Object.create(commands, { queue: { value: queue } }) as never
}

async function move(job: Job, token: string, decision: DecidedJob['decision']): Promise<void> {
  try {
    if (decision.kind === 'quarantine') await job.moveToFailed(unrecoverable(decision.reason), token, false)
    else if (decision.notBefore) await job.moveToDelayed(Date.now() + decision.notBefore, token)
    else await job.moveToWait(token)
  } catch (error) {
    // A repeat of this recovery, at the same time, was faster.
    if (!isLost(error)) throw error
  }
}
