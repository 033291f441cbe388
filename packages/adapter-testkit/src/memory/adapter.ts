import {
  type DecidedJob,
  HoldfastError,
  type JobOutcome,
  type Monitor,
  PayloadError,
  PayloadTooLargeError,
  type QueueAdapter,
  recoverEach,
  type Settled,
  type TaskHandle,
} from '@holdfast/core'
import type { MemoryJob } from './job-table.js'
import type { MemoryQueue } from './queue.js'

/** A handler, and what it is given beside the job. */
export type MemoryHandler = (job: MemoryJob, task: TaskHandle) => Promise<unknown>

/** What a task row holds of a job. */
interface Payload {
  readonly kind: 'track' | 'handOff'
  readonly job: MemoryJob
}

export interface MemoryAdapter extends QueueAdapter {
  /** The job stays active in the queue while the handler runs. */
  track(handler: MemoryHandler): (job: MemoryJob) => Promise<void>
  /** The job ends for the queue once it is registered; the handler goes on. */
  handOff(handler: MemoryHandler): (job: MemoryJob) => Promise<void>
}

/** The reference adapter: what the kit asks for, and nothing else. */
export function memoryAdapter({
  queue,
  name = 'memory',
  onError = console.error,
}: {
  queue: MemoryQueue
  name?: string
  /** Hears of what a handler threw when that changes nothing any more. */
  onError?: (error: unknown) => void
}): MemoryAdapter {
  let monitor!: Monitor
  return Object.freeze<MemoryAdapter>({
    name,
    capabilities: Object.freeze({ atomicRecovery: false, preservesJobId: true, delay: true }),
    recover: (jobs, context) => recoverEach(jobs, context, (job) => recoverJob(queue, job)),
    onStart(started) {
      monitor = started
    },
    onStop: () => queue.stop(),
    track: (handler) => async (job) => {
      const task = await begin({ kind: 'track', job })
      if (task === undefined) return
      const outcome = await outcomeOf(() => handler(job, task))
      const became = await settle(task, outcome)
      if (became === 'completed') return void (await queue.complete(job))
      if (became !== 'open') return
      if (outcome.failed && task.signal.aborted) return giveBack(task)
      if (outcome.failed) await queue.fail(job, String(outcome.error))
      else await queue.complete(job)
      await end(task)
    },
    handOff: (handler) => async (job) => {
      const task = await begin({ kind: 'handOff', job })
      if (task === undefined) return
      // Before it can fail, which puts it back.
      await queue.complete(job)
      void goOn(job, task, handler)
    },
  })

  /** Nothing runs that is not registered. */
  async function begin(payload: Payload): Promise<TaskHandle | undefined> {
    const { job } = payload
    try {
      return await monitor.register({ queue: name, jobRef: job.id, payload })
    } catch (error) {
      // Such a job can never be registered; all else passes.
      if (PayloadError.is(error) || PayloadTooLargeError.is(error)) await queue.fail(job, error.message)
      else await queue.release(job, RETRY_AFTER)
      return undefined
    }
  }

  /** Works on a job that has ended for its queue. */
  async function goOn(job: MemoryJob, task: TaskHandle, handler: MemoryHandler): Promise<void> {
    const outcome = await outcomeOf(() => handler(job, task))
    if ((await settle(task, outcome)) !== 'open') return
    if (outcome.failed) {
      if (task.signal.aborted) return giveBack(task)
      const attempts = job.attempts + 1
      if (attempts < job.maxAttempts) await queue.restore({ ...job, attempts }, task.id)
      else await queue.bury({ ...job, attempts }, String(outcome.error))
    }
    await end(task)
  }

  /** What became of a task whose handler has settled. Only of one that is `open` its outcome counts. */
  async function settle(task: TaskHandle, outcome: Outcome): Promise<Settled> {
    const became = await monitor.settle(task)
    if (became !== 'open' && outcome.failed && !task.signal.aborted) onError(outcome.error)
    return became
  }
}

type Outcome = { readonly failed: false } | { readonly failed: true; readonly error: unknown }

async function outcomeOf(work: () => Promise<unknown>): Promise<Outcome> {
  try {
    await work()
    return { failed: false }
  } catch (error) {
    return { failed: true, error }
  }
}

/** Milliseconds before a job that could not be registered is tried again, here or elsewhere. */
const RETRY_AFTER = 200

/** The row goes when the queue knows of the end. */
async function end(task: TaskHandle): Promise<void> {
  await task.complete().catch(ignoreLost)
}

/** It did not fail by itself: the process stops, or others may have the job. If none has, it comes back at once. */
async function giveBack(task: TaskHandle): Promise<void> {
  await task.release().catch(ignoreLost)
}

/** Others have the job by now, and it is theirs to end; a database that is away is told of it later. */
function ignoreLost(error: unknown): void {
  if (!HoldfastError.is(error)) throw error
}

async function recoverJob(
  queue: MemoryQueue,
  { orphan, decision, recoveryId }: DecidedJob,
): Promise<JobOutcome> {
  const { kind, job } = orphan.payload as Payload
  if (decision.kind === 'quarantine') {
    const found = await queue.bury(job, decision.reason)
    return found === 'buried' ? { kind: 'quarantined' } : { kind: 'alreadyThere' }
  }
  const requeued: JobOutcome = { kind: 'requeued', jobRef: job.id }
  const found = await queue.release(job, decision.notBefore)
  if (found === 'released') return requeued
  if (found === 'waiting' || found === 'active') return { kind: 'alreadyThere' }
  const isDone = found === 'failed' || (found === 'completed' && kind === 'track')
  if (isDone && orphan.cause !== 'retry') return { kind: 'finished' }
  // Handed off, retried by a person, or lost by the queue.
  const before = await queue.restore(job, recoveryId, decision.notBefore)
  return before === 'waiting' || before === 'active' ? { kind: 'alreadyThere' } : requeued
}
