import type { TaskHandle } from '@holdfast/core'
import type { Job, Worker } from 'bullmq'

/** BullMQ's job, and what stands for it while its processor runs. */
export type ProtectedJob<Data = unknown, Result = unknown, Name extends string = string> = Job<
  Data,
  Result,
  Name
> & {
  /**
   * Aborts when the work should end: others may soon run the job, it was cancelled in BullMQ, or the process stops. The
   * reason says which. The same as the processor's third argument.
   */
  readonly signal: AbortSignal
  /** `task.protected` is false where the job runs although it could not be registered. */
  readonly task: TaskHandle
}

export type ProtectedProcessor<Data, Result, Name extends string> = (
  job: ProtectedJob<Data, Result, Name>,
  token: string,
  signal: AbortSignal,
) => Promise<Result>

/** What `new Worker()` takes. Its three parameters count: BullMQ gives a signal only to those who ask for one. */
export type WrappedProcessor<Data, Result, Name extends string> = (
  job: Job<Data, Result, Name>,
  token?: string,
  signal?: AbortSignal,
) => Promise<Result>

/** A `Queue` or `Worker` of BullMQ's 5 or 6, of any types. */
export interface BullmqQueue {
  readonly name: string
  readonly qualifiedName: string
}

/** What ioredis has, and the other clients that BullMQ knows have not. */
export interface RedisClient {
  eval(script: string, keys: number, ...args: (string | number)[]): Promise<unknown>
}

export interface QueueInternals extends BullmqQueue {
  getJob(id: string): Promise<Job | undefined>
}

/** A worker as its jobs have it, with what is protected in its types. */
export type WorkerInternals = Pick<Worker, 'id' | 'opts' | 'close' | 'pause' | 'once' | 'on' | 'emit'> &
  BullmqQueue & {
    readonly closed: boolean
    readonly closing?: Promise<void> | undefined
    /** Renews the locks of the jobs that it knows. */
    readonly lockManager: {
      trackJob(id: string, token: string, since: number): unknown
      untrackJob(id: string): unknown
      getTrackedJobIds(): string[]
    }
    callProcessJob(job: Job, token: string, signal?: AbortSignal): Promise<unknown>
  }

export type JobInternals = Job & { readonly queue: WorkerInternals; readonly token?: string }

/** The prefix of a queue's keys. */
export const keysOf = ({ qualifiedName }: BullmqQueue): string => `${qualifiedName}:`

/**
 * BullMQ's own client of Redis: in 5 the queue has it, in 6 the queue's backend. Resolves when it is connected.
 *
 * @throws Error where that is none of ioredis
 */
export async function clientOf(queue: BullmqQueue): Promise<RedisClient> {
  const { client, backend } = queue as { client?: unknown; backend?: { client?: unknown } }
  const connected = (await (client ?? backend?.client)) as RedisClient | undefined
  if (typeof connected?.eval === 'function') return connected
  throw new Error(
    `Queue ${JSON.stringify(queue.name)} has no client of ioredis, which is what Holdfast works with: give BullMQ ` +
      'connection options, or an ioredis instance.',
  )
}

/** Runs a script on the keys of a queue, which may be a worker. */
export async function runScript(
  queue: BullmqQueue,
  script: string,
  ...args: readonly (string | number)[]
): Promise<unknown> {
  return (await clientOf(queue)).eval(script, 1, keysOf(queue), ...args)
}

const hasName = (error: unknown, ...names: readonly string[]): boolean =>
  names.includes((error as Error | undefined)?.name ?? '')

/** A processor has moved the job itself: this is no failure. */
export const hasMoved = (error: unknown): boolean =>
  hasName(error, 'DelayedError', 'WaitingError', 'WaitingChildrenError')

/** Thrown by a processor it has BullMQ write no end. */
export const leaveAlone = (job: Job): Error =>
  Object.assign(new Error(`Holdfast: this worker leaves job ${job.id} to others.`), { name: 'DelayedError' })

/** Has BullMQ fail a job whatever attempts it has left. */
export const unrecoverable = (reason: string): Error =>
  Object.assign(new Error(reason), { name: 'UnrecoverableError', stack: `UnrecoverableError: ${reason}` })

/** BullMQ's codes: no such job, no lock, not active, another's lock. */
const LOST: readonly unknown[] = [-1, -2, -3, -6]

/** BullMQ has refused to move a job since it is not this token's. */
export const isLost = (error: unknown): boolean =>
  LOST.includes((error as { code?: unknown } | undefined)?.code)

/** What BullMQ's workers try again; anything else they give up on. */
export const isConnectionError = (error: unknown): boolean =>
  /ECONNREFUSED|^Connection is closed/.test(String((error as Error | undefined)?.message))
