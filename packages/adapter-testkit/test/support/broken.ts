import { randomUUID } from 'node:crypto'
import type { DecidedJob, JobOutcome } from '@holdfast/core'
import {
  type MemoryAdapter,
  type MemoryJob,
  type MemoryQueue,
  memoryAdapter,
} from '../../src/memory/index.js'
import { ownTaskFaults } from './broken-own-task.js'

/** Makes an adapter with one fault out of the reference adapter. */
type Breaking = (adapter: MemoryAdapter, queue: MemoryQueue) => Partial<MemoryAdapter>

const jobOf = ({ orphan }: DecidedJob): MemoryJob => (orphan.payload as { job: MemoryJob }).job
const kindOf = ({ orphan }: DecidedJob): string => (orphan.payload as { kind: string }).kind
const requeued = (job: DecidedJob): JobOutcome => ({ kind: 'requeued', jobRef: jobOf(job).id })

/** Recovers each job by itself; what throws has failed. */
const each = (one: (job: DecidedJob) => Promise<JobOutcome>): Pick<MemoryAdapter, 'recover'> => ({
  recover: (jobs) =>
    Promise.all(jobs.map((job) => one(job).catch((error): JobOutcome => ({ kind: 'failed', error })))),
})

/** As adapters get it wrong. */
const faults = {
  'deletes before it enqueues': (_, queue) =>
    each(async (job) => {
      await queue.remove(jobOf(job).id)
      await queue.restore(jobOf(job), job.recoveryId)
      return requeued(job)
    }),
  'ignores recoveryId': (_, queue) =>
    each(async (job) => {
      const found = await queue.release(jobOf(job))
      if (found !== 'released') await queue.restore(jobOf(job), randomUUID())
      return requeued(job)
    }),
  're-adds a job that still exists': (_, queue) =>
    each(async (job) => {
      const { data, priority, maxAttempts } = jobOf(job)
      return { kind: 'requeued', jobRef: (await queue.add({ data, priority, maxAttempts })).id }
    }),
  'swallows an error': (adapter) => ({
    async recover(jobs, context) {
      const outcomes = await adapter.recover(jobs, context)
      return outcomes.map((outcome, n) => (outcome.kind === 'failed' ? requeued(jobs[n]!) : outcome))
    },
  }),
  'reorders outcomes': (adapter) => ({
    recover: async (jobs, context) => [...(await adapter.recover(jobs, context))].reverse(),
  }),
  'loses fields': (adapter, queue) => ({
    recover: (jobs, context) =>
      each(async (job) => {
        if (kindOf(job) === 'track') return (await adapter.recover([job], context))[0]!
        await queue.restore({ ...jobOf(job), priority: 0 }, job.recoveryId)
        return requeued(job)
      }).recover(jobs, context),
  }),
  'says that it recovered what it can’t read': (adapter) => ({
    async recover(jobs, context) {
      const outcomes = await adapter.recover(jobs, context)
      return outcomes.map((outcome) => (outcome.kind === 'failed' ? { kind: 'finished' } : outcome))
    },
  }),
  'declares atomicRecovery of a queue elsewhere': ({ capabilities }) => ({
    capabilities: Object.freeze({ ...capabilities, atomicRecovery: true }),
  }),
  'declares a delay and ignores it': (adapter) => ({
    recover: (jobs, context) =>
      adapter.recover(
        jobs.map((job) =>
          job.decision.kind === 'requeue' ? { ...job, decision: { kind: 'requeue' } } : job,
        ),
        context,
      ),
  }),
  'delays what shall not wait': (adapter) => ({
    recover: (jobs, context) =>
      adapter.recover(
        jobs.map((job) =>
          job.decision.kind === 'requeue' ? { ...job, decision: { kind: 'requeue', notBefore: 9_000 } } : job,
        ),
        context,
      ),
  }),
  'declares that ids stay, and gives new ones': (_, queue) =>
    each(async (job) => {
      await queue.remove(jobOf(job).id)
      const id = `${jobOf(job).id}-again`
      const { notBefore } = job.decision as { notBefore?: number }
      await queue.restore({ ...jobOf(job), id }, job.recoveryId, notBefore)
      return { kind: 'requeued', jobRef: id }
    }),
  'requeues what is quarantined': (adapter) => ({
    async recover(jobs, context) {
      await adapter.recover(
        jobs.map((job) => ({ ...job, decision: { kind: 'requeue' } })),
        context,
      )
      return jobs.map((job) => (job.decision.kind === 'quarantine' ? { kind: 'quarantined' } : requeued(job)))
    },
  }),
  'takes jobs when it is told to stop': () => ({ onStop: () => undefined }),
  'registers nothing': (_, queue) => ({
    track: (handler) => async (job) => {
      const { signal } = new AbortController()
      try {
        await handler(job, { signal } as never)
        await queue.complete(job)
      } catch (error) {
        await queue.fail(job, String(error))
      }
    },
  }),
  'lets a zombie end the run of another': (adapter, queue) => ({
    track: (handler) => {
      const tracked = adapter.track(handler)
      return async (job) => {
        await tracked(job)
        const now = (await queue.list()).find(({ id }) => id === job.id)
        if (now?.state === 'active') await queue.complete(now)
      }
    },
  }),
  'fails a job whose signal aborted': (adapter, queue) => ({
    track: (handler) =>
      adapter.track(async (job, task) => {
        await handler(job, task).catch(async (error: Error) => {
          await queue.bury(job, error.message)
          throw error
        })
      }),
  }),
  'loses a failed hand-off': (adapter) => ({
    handOff: (handler) => adapter.handOff((job, task) => handler(job, task).catch(() => undefined)),
  }),
  ...ownTaskFaults,
} satisfies Record<string, Breaking>

export type Fault = keyof typeof faults

export function broken(fault: Fault, queue: MemoryQueue): MemoryAdapter {
  const adapter = memoryAdapter({ queue })
  return Object.freeze({ ...adapter, ...(faults[fault] as Breaking)(adapter, queue) })
}
